#include "atrous/kernels/conv2d/wgmma_gemm.cuh"

// Compiled for sm_90a alone.

namespace atrous::kernels::cuda {

void wgmma_gemm(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial) {
  std::vector<Gather> directions;
  std::vector<Conv2dDims> dims;
  for (const GatherProblem<bf16>& problem : problems) {
    directions.push_back(problem.direction);
    dims.push_back(problem.dims);
  }
  const Gather direction = directions.at(0);
  const GatherTile tile = wgmma_tile(gather_outputs(direction, dims[0]));
  for (const TileSchedule& schedule : make_tile_schedules(directions, dims, tile)) {
    const ImplicitGemm<bf16> p = launch_parameters(schedule, problems, partial);
    WeightMaps maps{};
    for (int i = 0; i < schedule.problem_count; ++i)
      maps.of[i] = encode_tensor_map(
          wgmma_weight_boxes(direction, dims[std::size_t(schedule.problems[i])], p.pointers[i].weight));
    const auto launch = [&]<int kColumns>() {
      if (direction == Gather::forward)
        launch_wgmma_gemm<kColumns, Lies::depth_rows>(stream, p, maps);
      else
        launch_wgmma_gemm<kColumns, Lies::outer_rows>(stream, p, maps);
    };
    if (tile.outputs == 256)
      launch.template operator()<256>();
    else
      launch.template operator()<128>();
  }
}

}  // namespace atrous::kernels::cuda
