/** Quantities that JSON cannot carry are refused before they are sent. */
import { QuotagateError } from "./errors.js";
import type { Quantity } from "./results.js";

/** Something with quantities: a call, an operation, or one of its items. */
interface Quantities {
  quantity?: Quantity | null | undefined;
  items?: readonly { quantity?: Quantity | null | undefined }[] | null | undefined;
}

/** JSON would turn NaN into null, and a commit of null charges all that is held. */
export function checkQuantity(quantity: Quantity | null | undefined): void {
  if (typeof quantity === "number" && !Number.isFinite(quantity)) {
    const errors = [{ field: "quantity", message: "must be a finite number" }];
    throw new QuotagateError({ code: "invalid_request", message: "quantity must be a finite number", status: 400, errors });
  }
}

/** The same for all quantities of an operation. */
export function checkQuantities(operation: object): void {
  const { quantity, items }: Quantities = operation;
  for (const one of [quantity, ...(items ?? []).map((item) => item.quantity)]) checkQuantity(one);
}
