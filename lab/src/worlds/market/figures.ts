/**
 * @file A company's figures, year after year: whole numbers that agree with each other, the same on every platform.
 */
import type { Random } from '../../base/index.ts';
import type { QuarterFigures, YearFigures } from './knowledge.ts';

/** The years that every company reports. */
export const reportYears = [2019, 2020, 2021, 2022, 2023, 2024] as const;

/** Tenths of a percent, rounded: only divisions of whole numbers, which are the same everywhere. */
function perMille(part: number, whole: number): number {
  return Math.round((1000 * part) / whole);
}

/** An amount in four parts of about the same size that add up to it. */
function inQuarters(amount: number, random: Random): readonly number[] {
  const parts = [0, 1, 2].map(() => Math.trunc((amount * (220 + random.integer(60))) / 1000));
  return [...parts, amount - parts.reduce((sum, part) => sum + part, 0)];
}

/**
 * Revenue changes by 1 to 20 percent up or 1 to 12 down, and 3 to 22 percent of it are earned, or in a bad year lost: enough
 * for every change to be visible in what is written, where amounts are millions of dollars and tenths of a percent.
 */
export function yearlyFigures(random: Random): readonly YearFigures[] {
  const years: YearFigures[] = [];
  const usualMargin = 60 + random.integer(130);
  const revenuePerHead = 150 + random.integer(250);
  let revenue = 400 + random.integer(random.integer(2) === 0 ? 600 : 9000);
  let sharePrice = 800 + random.integer(12_000);
  for (const year of reportYears) {
    const before = years.at(-1);
    if (before) {
      const growth = random.integer(4) > 0 ? 10 + random.integer(191) : -10 - random.integer(111);
      revenue = Math.round((before.revenue * (1000 + growth)) / 1000);
      sharePrice = Math.max(100, Math.round((before.sharePrice * (1000 + growth + random.integer(201) - 100)) / 1000));
    }
    const margin = random.integer(7) > 0 ? usualMargin - 30 + random.integer(61) : -30 - random.integer(90);
    const netIncome = Math.round((revenue * margin) / 1000);
    years.push({
      year,
      revenue,
      netIncome,
      employees: 10 * Math.round((revenue * 100) / revenuePerHead),
      sharePrice,
      revenueGrowth: before && perMille(revenue - before.revenue, before.revenue),
      netMargin: perMille(netIncome, revenue),
      quarters: quarters(year, inQuarters(revenue, random), inQuarters(netIncome, random)),
    });
  }
  return years;
}

function quarters(year: number, revenues: readonly number[], incomes: readonly number[]): readonly QuarterFigures[] {
  return revenues.map((revenue, i) => ({ period: `${year} Q${i + 1}`, revenue, netIncome: incomes[i]! }));
}
