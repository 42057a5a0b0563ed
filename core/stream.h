#pragma once

#include "atrous/core/device.h"

// Streams beyond the default one, and events. Both exist on the CPU too, where every kernel has finished when
// its call returns, so that a program is written once.

namespace atrous {

/// A queue of its own, run side by side with the device's others. It must outlive the work given to it.
class OwnedStream {
 public:
  explicit OwnedStream(Device device);
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  operator Stream() const { return stream_; }
  /// Waits until its work has finished.
  void synchronize() const;

 private:
  Stream stream_;
};

/// While one lives, operations of this thread on tensors of the stream's device use this stream.
class StreamScope {
 public:
  explicit StreamScope(Stream stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  Stream stream_;
  void* before_;
};

/// A mark in a stream: another stream, or the host, can wait for it, and two of them measure the time
/// between.
class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Puts the mark behind everything that the stream has been given so far.
  void record(Stream stream);
  /// Makes what the stream is given from now on wait for the mark.
  void make_wait(Stream stream) const;
  /// Waits for the mark.
  void synchronize() const;
  /// Seconds from this mark to a later one. Waits for both.
  double seconds_until(const Event& later) const;

 private:
  Device device_;
  void* handle_ = nullptr;  // cudaEvent_t
  double time_ = 0;         // of the CPU's clock, in seconds
};

}  // namespace atrous
