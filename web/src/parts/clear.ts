/** Pictures that one sees through get a ground of their own: on the page's, black drawings vanish in the dark. */

const SIDE = 24;
let canvas: HTMLCanvasElement | null = null;

/** Marks a picture that has come if anything of it is transparent. */
export function markClear({ currentTarget }: { currentTarget: HTMLImageElement }): void {
  canvas ??= Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return;
  context.clearRect(0, 0, SIDE, SIDE);
  context.drawImage(currentTarget, 0, 0, SIDE, SIDE);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  const clear = data.some((part, at) => at % 4 === 3 && part < 250);
  if (clear) currentTarget.dataset["clear"] = "";
  else delete currentTarget.dataset["clear"];
}
