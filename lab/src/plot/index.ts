/** @file Figures: plain data, drawn by Plotly in a notebook, as SVG everywhere else. */
export * from './attention-map.ts';
export * from './charts.ts';
export { palette } from './figure.ts';
export type * from './figure.ts';
export * from './grid-plot.ts';
export { heatmap } from './heatmap.ts';
export type { Grid, HeatmapOptions } from './heatmap.ts';
export * from './intervals.ts';
export * from './live.ts';
export * from './quadratic-contours.ts';
export * from './roofline.ts';
export * from './save.ts';
export * from './segmentations.ts';
export * from './show.ts';
export { renderSvg } from './svg.ts';
export * from './tile-map.ts';
export * from './timeline.ts';
export * from './tokens.ts';
