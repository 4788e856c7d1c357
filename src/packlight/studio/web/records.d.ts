/** Records of the server, written by tools/build_studio_types.py: do not edit. */

export interface BudgetLine {
  text: string;
  metric: string;
  title: string;
  sense: string;
  bound: number | null;
  bound_text: string;
  reached: Number | null;
  meets: "yes" | "unclear" | "no";
}

export interface ChoiceRow {
  operators: string[];
  saved: Record<string, number>;
  seconds: Record<string, number>;
  damage: Record<string, number>;
  refused: Record<string, string>;
}

export interface CodePage {
  file: string;
  line: number;
  first: number;
  lines: string[];
  problem: string;
}

export interface ColumnTitle {
  name: string;
  title: string;
  unit: string;
  how: "counted" | "measured" | "estimated";
  total: number | null;
  tip: string;
}

export interface ComparePage {
  reference: VariantRow;
  variants: VariantRow[];
  metrics: MetricTitle[];
  contrasts: ContrastColumn[];
  columns: string[];
  groups: GroupRow[];
  findings: FindingLine[];
  lessons: LessonLine[];
  pictures: boolean;
  pictures_reason: string;
}

export interface ConfusionChange {
  before: string;
  after: string;
  lost: number;
  won: number;
  changed: number;
}

export interface ContrastColumn {
  variant: string;
  drop: Number;
  p: number;
  test: string;
  rates: Record<string, Number>;
  worst: string;
  worst_drop: Number | null;
  trust: Record<string, Number[]>;
  slices: string[];
  confusions: ConfusionChange[];
  notes: string[];
}

export interface DiffPage {
  first: OperatorsPage;
  second: OperatorsPage;
  rows: DiffRow[];
  counts: Record<string, number>;
  totals: Record<string, Number[]>;
  ops: Record<string, number[]>;
}

export interface DiffRow {
  status: "same" | "changed" | "removed" | "added";
  first: number;
  second: number;
  fields: string[];
  note: string;
}

export interface FindingLine {
  cause: string;
  severity: string;
  text: string;
  next_step: string;
  operators: string[];
}

export interface Frame {
  title: string;
  model: string;
  task: string;
  kind: "project" | "model";
  budgets: BudgetLine[];
  shown: string;
  variants: ModelChoice[];
  saves: boolean;
  runs: boolean;
  runs_reason: string;
  finished: boolean;
  progress: number[];
  version: string;
}

export interface GraphPage {
  labels: string[];
  kinds: string[];
  modules: string[];
  x: number[];
  y: number[];
  first: number[];
  counts: number[];
  owners: number[];
  sources: number[];
  targets: number[];
  width: number;
  height: number;
  open: string[];
  foldable: string[];
}

export interface GroupDot {
  variant: string;
  drop: Number;
  standing: string;
  q: number;
  lost: number;
  won: number;
}

export interface GroupRow {
  column: string;
  name: string;
  n: number;
  dots: GroupDot[];
}

export interface JobPage {
  id: string;
  kind: "measure" | "layers" | "sensitivity";
  title: string;
  state: "waiting" | "running" | "done" | "failed" | "canceled";
  text: string;
  done: number;
  total: number;
  variant: string;
  error: string;
  predicted: Record<string, Number>;
  measured: Record<string, Number>;
}

export interface LayersPage {
  variant: string;
  name: string;
  ready: boolean;
  n: number;
  names: string[];
  ops: string[];
  total: (number | null)[];
  own: (number | null)[];
  low: number[];
  high: number[];
  variant_low: number[];
  variant_high: number[];
  outside: number[];
  first: string;
  sentence: string;
  weights: WeightHistogram[];
  unmatched: string[];
  notes: string[];
}

export interface LessonLine {
  title: string;
  text: string;
  source: string;
}

export interface LineageNode {
  key: string;
  parent: string;
  label: string;
  variant: string;
  x: number;
  y: number;
  order: number;
}

export interface MetricTitle {
  name: string;
  title: string;
  unit: string;
  scale: number;
  label: string;
  better: "lower" | "higher";
}

export interface ModelChoice {
  id: string;
  name: string;
  role: "original" | "best" | "variant" | "file";
}

export interface Number {
  value: number;
  low: number;
  high: number;
  how: "counted" | "measured" | "estimated";
  n: number;
  text: string;
  interval: string;
}

export interface OperatorsPage {
  model: string;
  name: string;
  names: string[];
  ops: string[];
  modules: string[];
  files: string[];
  lines: number[];
  bounds: string[];
  storage: string[];
  starts: number[];
  columns: ColumnTitle[];
  numbers: Record<string, (number | null)[]>;
  device: string;
  notes: string[];
  peak: string;
}

export interface OverviewPage {
  verdict: "fits" | "undecided" | "misses" | "unjudged";
  headline: string;
  details: string[];
  cautions: string[];
  notes: string[];
  best: string;
  metrics: MetricTitle[];
  variants: VariantRow[];
  fronts: Record<string, string[]>;
  lineage: LineageNode[];
  findings: FindingLine[];
  lessons: LessonLine[];
  conditions: Record<string, string>;
}

export interface Picture {
  kind: "image" | "wave" | "numbers";
  source: string;
  width: number;
  height: number;
  points: number[];
  text: string;
}

export interface Prediction {
  predicted: Record<string, Number>;
  changes: Record<string, number>;
  budgets: BudgetLine[];
  receipt: ReceiptLine[];
  changed: number;
  damage: number | null;
  recipe: string;
}

export interface Problem {
  error: string;
}

export interface ReceiptLine {
  where: string;
  step: string;
  operators: number;
  saved: number;
  seconds: number;
  damage: number | null;
  refused: string[];
}

export interface SampleCard {
  sample: number;
  outcome: string;
  before: string;
  after: string;
  confidence_before: number;
  confidence_after: number;
  groups: Record<string, string>;
  picture: Picture | null;
}

export interface SamplesPage {
  variant: string;
  total: number;
  start: number;
  cards: SampleCard[];
  counts: Record<string, number>;
}

export interface SavedRecipe {
  name: string;
  recipe: string;
  choices: string[];
}

export interface SavedView {
  name: string;
  address: string;
  note: string;
}

export interface Sensitivity {
  model: string;
  n: number;
  noise: Record<string, Record<string, number>>;
}

export interface StepTitle {
  step: string;
  title: string;
  tip: string;
}

export interface VariantRow {
  id: string;
  name: string;
  recipe: string;
  verdict: "fits" | "undecided" | "misses" | "unjudged";
  meets: Record<string, "yes" | "unclear" | "no">;
  labels: string[];
  error: string;
  same_as: string;
  numbers: Record<string, Number>;
  settings: Record<string, string>;
  original: boolean;
  best: boolean;
  tried: boolean;
  file: boolean;
}

export interface WeightHistogram {
  name: string;
  operator: string;
  shape: string;
  snr: Number;
  levels: number;
  zeros: number;
  variant_zeros: number;
  edges: number[];
  counts: number[];
  variant_counts: number[];
}

export interface WhatIfPage {
  model: string;
  steps: StepTitle[];
  rows: ChoiceRow[];
  original: Record<string, Number>;
  device: string;
  sensitivity: boolean;
  recipes: Record<string, string>;
}
