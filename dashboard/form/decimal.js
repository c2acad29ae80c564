// Exact decimals, so that the example beside a weight shows what the gateway will charge. It mirrors the gateway's rule:
// weights times fields, summed, and rounded up to the step of the unit.

/** Weights and fields have at most this many decimal places. */
const PLACES = 12;

/** Decimal places of each unit. */
const steps = { count: 0, tokens: 0, seconds: 3, cents: 6 };

/** The value times 10^12 as a BigInt; null if it is not a decimal number of at most 12 places. */
export function scaled(value) {
  const found = /^(\d*)(?:\.(\d*))?(?:e([+-]?\d{1,2}))?$/i.exec(String(value ?? '').trim());
  const digits = found ? `${found[1]}${found[2] ?? ''}` : '';
  if (digits === '') return null;
  const shift = PLACES - (found[2] ?? '').length + Number(found[3] ?? 0);
  if (shift >= 0) return BigInt(digits) * 10n ** BigInt(shift);
  const divisor = 10n ** BigInt(-shift);
  return BigInt(digits) % divisor === 0n ? BigInt(digits) / divisor : null;
}

/** 2400000n of 6 places as `2.4`. */
function plain(value, places) {
  const text = String(value).padStart(places + 1, '0');
  const fraction = text.slice(text.length - places).replace(/0+$/, '');
  const whole = text.slice(0, text.length - places);
  return places > 0 && fraction ? `${whole}.${fraction}` : whole;
}

/**
 * What a call with these figures counts, as text; null while a weight or figure is not a number.
 * @param {Record<string, any>} per
 * @param {Record<string, any>} figures
 * @param {string} unit
 */
export function weighed(per, figures, unit) {
  let sum = 0n;
  for (const [field, weight] of Object.entries(per)) {
    const [factor, figure] = [scaled(weight), field === 'event' ? scaled(1) : scaled(figures[field])];
    if (factor === null || figure === null) return null;
    sum += factor * figure;
  }
  const places = steps[unit] ?? 0;
  const step = 10n ** BigInt(2 * PLACES - places);
  return plain((sum + step - 1n) / step, places);
}
