#include "atrous/core/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::tests {
TEST_CASE("parallel_for: every element is visited once, whatever the sizes", "[core][parallel]") {
  for (const int count : {1, 2, 3, 7})
    for (const std::int64_t n : {0, 1, 2, 6, 7, 8, 1000, 4099})
      for (const std::int64_t grain : {1, 3, 1000, 1 << 20}) {
        const ThreadsScope scope(count);
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
        std::atomic<int> parts = 0, small = 0;
        parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
          ++parts;
          if (end - begin < std::min(grain, n)) ++small;
          for (std::int64_t i = begin; i < end; ++i) ++visits[std::size_t(i)];
        });
        INFO(n << " elements, grain " << grain << ", " << count << " threads, " << parts << " parts");
        CHECK(std::all_of(visits.begin(), visits.end(), [](const auto& v) { return v == 1; }));
        CHECK(parts <= count);
        CHECK(small == 0);
        CHECK((parts > 0) == (n > 0));
      }
}

TEST_CASE("parallel_for: work too small for a second thread stays with the first", "[core][parallel]") {
  CHECK(grain_of(0) == kPartWork);
  CHECK(grain_of(1) == kPartWork);
  CHECK(grain_of(kPartWork / 3) == 3);
  CHECK(grain_of(kPartWork) == 1);
  CHECK(grain_of(10 * kPartWork) == 1);
  const ThreadsScope scope(2);
  const auto parts = [](std::int64_t n, std::int64_t work) {
    std::atomic<int> count = 0;
    parallel_for(n, grain_of(work), [&](std::int64_t, std::int64_t) { ++count; });
    return count.load();
  };
  CHECK(parts(31, kPartWork / 16) == 1);
  CHECK(parts(32, kPartWork / 16) == 2);
  CHECK(parts(2, kPartWork) == 2);
}

TEST_CASE("parallel_for: counts beyond 32 bits are cut without overflow", "[core][parallel]") {
  const ThreadsScope scope(3);
  std::atomic<std::int64_t> sum = 0;
  const std::int64_t n = (std::int64_t(1) << 62) + 5;
  parallel_for(n, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
  CHECK(sum == n);
}

TEST_CASE("parallel_for: the exception of the lowest part comes out, and the team goes on",
          "[core][parallel]") {
  for (const int count : {1, 3}) {
    const ThreadsScope scope(count);
    for (int round = 0; round < 20; ++round) {
      std::string what;
      try {
        parallel_for(
            3, [&](std::int64_t begin, std::int64_t) { throw std::runtime_error(std::to_string(begin)); });
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
      CHECK(what == "0");
    }
    std::atomic<int> visits = 0;
    parallel_for(100, [&](std::int64_t begin, std::int64_t end) { visits += int(end - begin); });
    CHECK(visits == 100);
  }
}

TEST_CASE("parallel_for: a call from inside a body runs inline", "[core][parallel]") {
  const ThreadsScope scope(3);
  std::atomic<int> visits = 0, inner_parts = 0;
  parallel_for(6, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      parallel_for(50, [&](std::int64_t b, std::int64_t e) {
        ++inner_parts;
        visits += int(e - b);
      });
  });
  CHECK(visits == 300);
  CHECK(inner_parts == 6);
}

TEST_CASE("parallel_for: SerialScope keeps a thread out of the team", "[core][parallel]") {
  const ThreadsScope scope(3);
  const auto parts = [] {
    std::atomic<int> count = 0;
    parallel_for(300, [&](std::int64_t, std::int64_t) { ++count; });
    return count.load();
  };
  CHECK(parts() == 3);
  {
    const SerialScope serial;
    CHECK(parts() == 1);
    {
      const SerialScope nested;
      CHECK(parts() == 1);
    }
    CHECK(parts() == 1);
  }
  CHECK(parts() == 3);
}

TEST_CASE("parallel_for: several threads of a program may use it at once", "[core][parallel]") {
  const ThreadsScope scope(2);
  std::vector<std::thread> users;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    users.emplace_back([&] {
      for (int round = 0; round < 300; ++round) {
        std::vector<int> data(1000, 0);
        parallel_for(1000, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) data[std::size_t(i)] += int(i);
        });
        for (int i = 0; i < 1000; ++i) wrong += data[std::size_t(i)] != i;
      }
    });
  for (auto& user : users) user.join();
  CHECK(wrong == 0);
}

TEST_CASE("parallel_for: a worker leaves the processor of the thread that calls", "[core][parallel]") {
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  if (CPU_COUNT(&all) < 2) {
    WARN("one processor: skipped");
    return;
  }
  const ThreadsScope scope(2);
  int caller = -1, worker = -1;
  // In a thread of its own: this one's processors are those of the process.
  std::thread user([&] {
    const auto run = [&](const auto& of_worker) {
      parallel_for(2, [&](std::int64_t begin, std::int64_t) {
        if (begin == 1) of_worker();
      });
    };
    cpu_set_t one;
    CPU_ZERO(&one);
    run([] {});
    caller = sched_getcpu();
    CPU_SET(unsigned(caller), &one);
    sched_setaffinity(0, sizeof one, &one);
    run([&] { sched_setaffinity(0, sizeof one, &one); });
    run([&] { worker = sched_getcpu(); });
  });
  user.join();
  REQUIRE(worker >= 0);
  CHECK(worker != caller);
}

TEST_CASE("WorkShares: every element is taken once, by threads of any speed", "[core][parallel]") {
  for (const int parts : {1, 2, 3, 7})
    for (const std::int64_t n : {0, 1, 2, 9, 64, 1000})
      for (const std::int64_t least : {1, 3})
        for (const int slow : {0, parts - 1}) {
          const ThreadsScope scope(parts);
          WorkShares shares(n, parts);
          std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
          parallel_for(parts, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t part = begin; part < end; ++part) {
              if (part == slow) std::this_thread::yield();
              while (const WorkShares::Piece piece = shares.take(part, least, 2 * least))
                for (std::int64_t i = piece.begin; i < piece.end; ++i) ++visits[std::size_t(i)];
            }
          });
          INFO(n << " elements, " << parts << " parts, at least " << least);
          CHECK(std::all_of(visits.begin(), visits.end(), [](const auto& v) { return v == 1; }));
        }
}

TEST_CASE("WorkShares: a part's own pieces come first, in order, then others' from the back",
          "[core][parallel]") {
  WorkShares shares(40, 2);
  const auto take = [&](std::int64_t part) {
    const WorkShares::Piece piece = shares.take(part, 2, 8);
    return std::pair(piece.begin, piece.end);
  };
  using Ends = std::pair<std::int64_t, std::int64_t>;
  for (const Ends& own : {Ends(0, 8), Ends(8, 14), Ends(14, 17), Ends(17, 19), Ends(19, 20)})
    CHECK(take(0) == own);
  CHECK(take(0) == Ends(32, 40));
  CHECK(take(1) == Ends(20, 26));
  CHECK(take(0) == Ends(29, 32));
  CHECK(take(1) == Ends(26, 28));
  CHECK(take(1) == Ends(28, 29));
  CHECK_FALSE(shares.take(0, 2, 8));
  CHECK_FALSE(shares.take(1, 2, 8));
}

TEST_CASE("WorkShares: counts beyond 32 bits", "[core][parallel]") {
  const std::int64_t n = (std::int64_t(1) << 40) + 5, most = n / 10;
  WorkShares shares(n, 3);
  std::int64_t sum = 0;
  while (const WorkShares::Piece piece = shares.take(1, most, most)) {
    CHECK((piece.begin >= 0 && piece.end <= n));
    sum += piece.end - piece.begin;
  }
  CHECK(sum == n);
}

TEST_CASE("share_out: every element once, the pieces of one part one after the other", "[core][parallel]") {
  for (const int team : {1, 2, 7})
    for (const std::int64_t n : {0, 1, 3, 36, 1000})
      for (const std::int64_t work : {std::int64_t(1), kPartWork}) {
        const ThreadsScope scope(team);
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n)),
            busy(static_cast<std::size_t>(team));
        std::atomic<int> together = 0, most_part = 0;
        share_out(n, team, work, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
          if (++busy[std::size_t(part)] > 1) ++together;
          if (part > 0) ++most_part;
          for (std::int64_t i = begin; i < end; ++i) ++visits[std::size_t(i)];
          --busy[std::size_t(part)];
        });
        INFO(n << " elements of " << work << ", " << team << " threads");
        CHECK(std::all_of(visits.begin(), visits.end(), [](const auto& v) { return v == 1; }));
        CHECK(together == 0);
        if (work == 1) CHECK(most_part == 0);  // too little for a second thread
      }
}

TEST_CASE("set_threads: 1 to 1024, not inside of a loop", "[core][parallel]") {
  CHECK(threads() >= 1);
  CHECK_THROWS_AS(set_threads(0), ValueError);
  CHECK_THROWS_AS(set_threads(-3), ValueError);
  CHECK_THROWS_AS(set_threads(1025), ValueError);
  for (const int count : {1, 2}) {
    const ThreadsScope scope(count);
    CHECK_THROWS_AS(parallel_for(4, [](std::int64_t, std::int64_t) { set_threads(3); }), ValueError);
    CHECK(threads() == count);
  }
}

}  // namespace atrous::tests
