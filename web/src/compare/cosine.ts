/** Cosines of all pairs, N×N. */
export function cosines(vectors: readonly number[][]): number[][] {
  const lengths = vectors.map((vector) => Math.hypot(...vector) || 1);
  return vectors.map((a, i) =>
    vectors.map((b, j) => a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0) / (lengths[i]! * lengths[j]!)),
  );
}
