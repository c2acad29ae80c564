/** Checks quantities that JSON cannot contain, before they are sent. */
import { QuotagateError } from "./errors.js";
import type { Quantity } from "./results.js";

/** A call, an operation or an item with quantities. */
interface Quantities {
  quantity?: Quantity | null | undefined;
  items?: readonly { quantity?: Quantity | null | undefined }[] | null | undefined;
}

/** JSON turns NaN into null, and a commit of null would charge the whole hold. */
export function checkQuantity(quantity: Quantity | null | undefined): void {
  if (typeof quantity === "number" && !Number.isFinite(quantity)) {
    const errors = [{ field: "quantity", message: "must be a finite number" }];
    throw new QuotagateError({ code: "invalid_request", message: "quantity must be a finite number", status: 400, errors });
  }
}

/** Checks all quantities of an operation. */
export function checkQuantities(operation: object): void {
  const { quantity, items }: Quantities = operation;
  for (const one of [quantity, ...(items ?? []).map((item) => item.quantity)]) checkQuantity(one);
}
