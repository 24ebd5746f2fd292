/** From a file, a drop or the clipboard to a data: address of moderate size. */

/** The model looks at far fewer pixels; a phone's 12 Mpx would only slow the request down. */
const LONGEST = 1024;

export class PictureError extends Error {}

function asDataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new PictureError("That file cannot be read."));
    reader.readAsDataURL(blob);
  });
}

/** JPEG, PNG, WebP and small enough goes as it is; all else is drawn anew, upright and smaller. */
export async function readPicture(file: File): Promise<string> {
  const named = file.name === "" ? "That" : `“${file.name}”`;
  if (!file.type.startsWith("image/")) throw new PictureError(`${named} is not a picture.`);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new PictureError(`${named} is not a picture that this browser can open.`);
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const plain = ["image/jpeg", "image/png", "image/webp"].includes(file.type);
  if (scale === 1 && plain && file.size < 1_500_000) return asDataUrl(file);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const lossy = file.type === "image/jpeg";
  const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, lossy ? "image/jpeg" : "image/png", 0.92));
  if (!blob) throw new PictureError(`${named} cannot be drawn.`);
  return asDataUrl(blob);
}

/** The first file of a drop or paste, if there is any. */
export const fileOf = (data: DataTransfer | null): File | null => data?.files[0] ?? null;
