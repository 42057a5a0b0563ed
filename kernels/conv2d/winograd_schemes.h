#pragma once

// Winograd's (Toom-Cook) schemes for three taps along one axis, and their matrices at compile time.
//
// A scheme yields `outs` outputs y[i] = w0 x[i-1] + w1 x[i] + w2 x[i+1] as y = At ((G w) * (Bt x)), with one
// product for each of its points instead of three for each output. All schemes draw the rows of G from one
// list, so that one set of transformed weights serves them all:
//
//   0: w at 0   1: w at infinity   2: w at 1   3: w at -1   4: w at 2   5: w at -1/2   6: w at -2
//   7: w at 1/2   8: w1   9: w2 - w1   10: w0 - w1
//
// F2 to F6 use the points 0..3 to 0..7. T1 and T2 are for pictures of one and two pixels, whose neighbours
// are known to be zero: one product, and three for four live taps.
//
// Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016; the points and the
// weights of their rows are our own choice (-1/2 instead of the usual -2 leaves a third of the error).

namespace atrous::kernels::winograd {

enum Scheme { kT1, kT2, kF2, kF3, kF4, kF5, kF6 };  // those with F are numbered by their outputs
inline constexpr int kSchemes = 7;
inline constexpr int kPoints = 8, kRowsOfG = kPoints + 3;
inline constexpr int kMostIns = 8, kMostOuts = 6;  // along one axis
inline constexpr int kMostPairs = kMostIns * kMostIns;

struct Matrix {
  double v[kMostIns][kMostIns];
};

constexpr int outs(int s) { return s == kT1 ? 1 : s == kT2 ? 2 : s; }
constexpr int ins(int s) { return s == kT1 ? 1 : s == kT2 ? 2 : s + 2; }
constexpr int points(int s) { return s == kT1 ? 1 : s == kT2 ? 3 : s + 2; }
/// Of the inputs, relative to the first output.
constexpr int first_in(int s) { return s == kT1 || s == kT2 ? 0 : -1; }
constexpr int row_of_g(int s, int p) { return s == kT1 || s == kT2 ? kPoints + p : p; }

constexpr double kPoint[kPoints] = {0, 0, 1, -1, 2, -.5, -2, .5};  // by row of G; [1] stands for infinity

/// Product of (kPoint[p] - kPoint[l]) over the finite points l of F(m).
constexpr double point_weight(int m, int p) {
  double n = 1;
  for (int l = 0; l < m + 2; ++l)
    if (l != 1 && l != p) n *= kPoint[p] - kPoint[l];
  return n;
}

/// What a point's row of G is divided by, in every scheme: it keeps the transformed weights of a size and
/// costs nothing there.
constexpr double row_weight(int p) { return point_weight(p < 6 ? 4 : 6, p); }

/// Coefficient of w[tap] in a row of G.
constexpr double g(int row, int tap) {
  constexpr double extra[3][3] = {{0, 1, 0}, {0, -1, 1}, {1, -1, 0}};
  if (row >= kPoints) return extra[row - kPoints][tap];
  if (row == 1) return tap == 2;
  double v = 1 / row_weight(row);
  for (int i = 0; i < tap; ++i) v *= kPoint[row];
  return v;
}

/// points(s) x ins(s)
constexpr Matrix bt(int s) {
  Matrix m{};
  if (s == kT1) {
    m.v[0][0] = 1;
    return m;
  }
  if (s == kT2) {
    m.v[0][0] = m.v[0][1] = 1;
    m.v[1][1] = 1;
    m.v[2][0] = 1;
    return m;
  }
  // Coefficients of the product of (x - l) over the finite points l other than p.
  for (int p = 0; p < s + 2; ++p) {
    double c[kMostIns] = {1};
    int degree = 0;
    for (int l = 0; l < s + 2; ++l) {
      if (l == 1 || l == p) continue;
      for (int i = ++degree; i >= 0; --i) c[i] = (i ? c[i - 1] : 0) - kPoint[l] * c[i];
    }
    for (int i = 0; i < s + 2; ++i) m.v[p][i] = c[i];
  }
  return m;
}

/// outs(s) x points(s)
constexpr Matrix at(int s) {
  Matrix m{};
  if (s == kT1) {
    m.v[0][0] = 1;
    return m;
  }
  if (s == kT2) {
    m.v[0][0] = m.v[1][0] = 1;
    m.v[0][1] = 1;
    m.v[1][2] = 1;
    return m;
  }
  for (int p = 0; p < s + 2; ++p)
    for (int i = 0; i < s; ++i) {
      if (p == 1) {
        m.v[i][p] = i == s - 1;
        continue;
      }
      double v = row_weight(p) / point_weight(s, p);
      for (int j = 0; j < i; ++j) v *= kPoint[p];
      m.v[i][p] = v;
    }
  return m;
}

constexpr Matrix transposed(const Matrix& a) {
  Matrix m{};
  for (int i = 0; i < kMostIns; ++i)
    for (int j = 0; j < kMostIns; ++j) m.v[i][j] = a.v[j][i];
  return m;
}

}  // namespace atrous::kernels::winograd
