/** Settings in which selected variants differ. */

/**
 * @param {{id: string, name: string, settings: Record<string, string>}[]} variants
 * @returns {{setting: string, values: string[]}[]} settings that differ, the value of each variant in turn
 */
export function differingSettings(variants) {
  const names = [...new Set(variants.flatMap((variant) => Object.keys(variant.settings)))];
  return names
    .map((setting) => ({ setting, values: variants.map((variant) => variant.settings[setting] ?? "–") }))
    .filter((row) => new Set(row.values).size > 1);
}
