import { constants } from "node:buffer";
import { FileAccessError } from "../base/errors.ts";
import { bytesText } from "../plan/text.ts";

/**
 * The text of a file in UTF-8, without a byte order mark. Throws `FileAccessError` for a file that is not there, is too
 * long for one string (half a gigabyte) or is not text.
 */
export async function readLongText(path: string): Promise<string> {
  const { openFile } = await import("../host/node-files.ts");
  const file = await openFile(path);
  try {
    // A byte gives one unit of a string, or less.
    if (file.size > constants.MAX_STRING_LENGTH) {
      const most = bytesText(constants.MAX_STRING_LENGTH);
      throw new FileAccessError(
        path,
        `has ${bytesText(file.size)}, above the limit of ${most}: cut it into parts`,
      );
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.read(0, file.size));
  } catch (error) {
    if (error instanceof TypeError) throw new FileAccessError(path, "is not text in UTF-8");
    throw error;
  } finally {
    await file.close();
  }
}
