#pragma once

namespace atrous {

/// Instruction sets that hot loops are compiled for, beside the baseline of the architecture.
enum class CpuIsa { baseline, avx2, avx512 };

/// The best one of this processor, found once; ATROUS_CPU_ISA=baseline|avx2|avx512 in the environment lowers
/// it. Results are the same bits from run to run on one instruction set; between two they differ by rounding.
CpuIsa cpu_isa();
const char* cpu_isa_name(CpuIsa isa);

/// Whether cpu_isa() is avx512 and this processor adds up products of pairs of bf16 in f32 (AVX512_BF16,
/// vdpbf16ps), two multiplications where f32 has one.
bool cpu_multiplies_bf16();

}  // namespace atrous
