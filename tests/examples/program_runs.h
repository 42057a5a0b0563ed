#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "atrous/io/colormap.h"
#include "atrous/io/image.h"
#include "atrous/io/label_png.h"

// The example programs, run as a user runs them.

namespace atrous::tests {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;
  std::string out, err;
  bool one_line() const { return !err.empty() && err.find('\n') == err.size() - 1; }
};

inline std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A folder that goes with the test.
struct Scratch {
  fs::path path = fs::temp_directory_path() / ("atrous_programs_" + std::to_string(getpid()));
  Scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Scratch() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

// Runs a program of a folder; `arguments` starts with its name.
inline Outcome run_program(const std::string& folder, const Scratch& scratch, const std::string& arguments) {
  const std::string command =
      folder + "/" + arguments + " >" + (scratch / "out.txt") + " 2>" + (scratch / "err.txt");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, slurp(scratch / "out.txt"),
          slurp(scratch / "err.txt")};
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Two training and one validation image of 40x48 with the given label everywhere.
inline std::string folder_data(const Scratch& scratch, const std::string& name, std::uint8_t label) {
  const fs::path root = scratch.path / name;
  for (const char* part : {"train", "train_labels", "val", "val_labels"}) fs::create_directories(root / part);
  Tensor image = Tensor::full({1, 40, 48, 3}, 90, Dtype::u8), labels = Tensor::zeros({1, 40, 48}, Dtype::u8);
  for (std::int64_t i = 0; i < labels.numel(); ++i)
    labels.span<std::uint8_t>()[i] = std::uint8_t(i % 48 / 12 % 2);
  const Tensor filled = Tensor::full({1, 40, 48}, label, Dtype::u8);
  for (const char* stem : {"a", "b"}) {
    io::write_png((root / "train" / stem).string() + ".png", image);
    io::write_label_png((root / "train_labels" / stem).string() + ".png", stem[0] == 'a' ? filled : labels,
                        io::voc_colormap());
  }
  io::write_png((root / "val" / "c.png").string(), image);
  io::write_label_png((root / "val_labels" / "c.png").string(), labels, io::voc_colormap());
  return root.string();
}

}  // namespace atrous::tests
