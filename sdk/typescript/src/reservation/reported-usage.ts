/** Running sums of reported usage. */

/** Numeric metadata such as `{ prompt_tokens: 12, completion_tokens: 40 }`; `quantity` is the quantity. */
export type Figures = { quantity?: number } & Record<string, number>;

/** The finest step of any unit is a millionth. */
const DECIMALS = 6;

/** Adds as exactly as the units need: 0.1 + 0.2 is 0.3. */
export function add(left: number, right: number): number {
  const sum = left + right;
  return Number.isInteger(sum) ? sum : Number(sum.toFixed(DECIMALS));
}

/** The usage since the last draw. */
export class ReportedUsage {
  #figures = new Map<string, number>();

  /** True if nothing was reported. */
  get empty(): boolean {
    return this.#figures.size === 0;
  }

  /** True if a figure above 0 was reported. */
  get positive(): boolean {
    return [...this.#figures.values()].some((figure) => figure > 0);
  }

  add(used: number | Figures): void {
    for (const [name, figure] of entries(used)) {
      this.#figures.set(name, add(this.#figures.get(name) ?? 0, figure));
    }
  }

  /** Replaces the sums of the same names. */
  set(used: number | Figures): void {
    for (const [name, figure] of entries(used)) this.#figures.set(name, figure);
  }

  /** The figures for a commit. */
  get figures(): { quantity?: number; metadata: Record<string, number> } {
    const { quantity, ...metadata } = Object.fromEntries(this.#figures) as Figures;
    return { ...(quantity !== undefined && { quantity }), metadata };
  }

  clear(): void {
    this.#figures.clear();
  }
}

function entries(used: number | Figures): [string, number][] {
  const pairs = typeof used === "number" ? [["quantity", used] as [string, number]] : Object.entries(used);
  for (const [name, figure] of pairs) {
    if (!(figure >= 0 && figure < Infinity)) throw new RangeError(`${name} must be a number of at least 0`);
  }
  return pairs;
}
