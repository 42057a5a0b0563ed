#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "atrous/core/tensor.h"
#include "atrous/io/colormap.h"

// Labelled images by number, wherever they come from. A data set is named by a text, as in --data:
//
//   synthetic        scenes that are drawn (synthetic.h)
//   folder:DIR       images DIR/{train,val}/, PNG labels of the same stem DIR/{train,val}_labels/,
//                    DIR/classes.txt if there
//   camvid:DIR       the same with CamVid's 11 classes; its label 11 is ignored
//   voc:DIR          VOCdevkit/VOC2012, or a folder with list.txt of `image label` pairs (both splits are
//                    then the same)
//   cityscapes:DIR   leftImg8bit/ and gtFine/ with labelIds, 19 classes
//   ade20k:DIR       images/ and annotations/, 150 classes; label 0 is ignored, the others count from 0
//
// Whatever a data set ignores comes out as label 255.

namespace atrous::io {

enum class Split { train, val };

/// "train" or "val"
const char* split_name(Split split);
/// Throws ValueError for any other text.
Split split_from_name(const std::string& name);

/// One labelled image.
struct Sample {
  Tensor image;      ///< [1, H, W, 3], u8, RGB
  Tensor labels;     ///< [1, H, W], u8: class 0..classes-1, or 255 = ignore
  std::string name;  ///< what messages and reports call it: the stem of its file, or its number
};

/// Labels in a Sample have this value where no class is to be learned or scored.
inline constexpr std::uint8_t kIgnore = 255;

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  /// Sample 0..size()-1; may be called from several threads. Throws IoError for a file that cannot be read,
  /// for an image and a label map of different sizes, and for a mask in colours; ValueError for a label that
  /// is no class, with file, pixel and value.
  virtual Sample sample(std::int64_t i) const = 0;
  /// The labels alone, where reading them is cheaper.
  virtual Tensor labels(std::int64_t i) const { return sample(i).labels; }
  virtual std::string name(std::int64_t i) const = 0;

  std::int64_t classes() const { return colormap_.size(); }
  /// Names and colours of the classes.
  const Colormap& colormap() const { return colormap_; }

 protected:
  explicit Dataset(Colormap colormap) : colormap_(std::move(colormap)) {}

 private:
  Colormap colormap_;
};

struct DatasetOptions {
  std::int64_t classes = 0;  ///< 0: what the data set says
  std::optional<std::int64_t> ignore_label =
      255;                 ///< in label files; a data set's own ignore value counts as well
  std::uint64_t seed = 1;  ///< of synthetic scenes
};

/// Whether a text names a data set: a form of the list above, whatever its folder holds.
bool is_dataset_spec(const std::string& spec);

/// Throws ValueError for a name that is not in the list above and for a number of classes that the data set
/// cannot have; IoError for a folder without the files, an image without labels, labels without an image, and
/// an empty data set.
std::unique_ptr<Dataset> make_dataset(const std::string& spec, Split split,
                                      const DatasetOptions& options = {});

/// What a look at all labels shows, before anything is trained on them.
struct LabelReport {
  std::vector<std::int64_t> pixels;   ///< of each class
  std::int64_t ignored = 0;           ///< pixels with label 255
  Tensor median_frequency_weights;    ///< [classes], f32: median(f) / f_c, f_c = pixels of c / all pixels of
                                      ///< the images that have c; 0 if c never occurs
  std::vector<std::string> warnings;  ///< images without a single label, classes that never occur
};

/// Reads the labels of the first `most` samples (0: of all). Throws what Dataset::labels() throws: the first
/// wrong label in the set. Source of the weights: Eigen and Fergus, ICCV 2015, section 6.3.2.
LabelReport check_labels(const Dataset& dataset, std::int64_t most = 0);

}  // namespace atrous::io
