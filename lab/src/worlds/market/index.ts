/** @file The world of the market: companies, people and figures whose truth is known. */
export * from './knowledge.ts';
export { marketKnowledge } from './make-knowledge.ts';
export { reportYears } from './figures.ts';
export { relationInfo, relationNames, relations, type Relation, type RelationInfo, type SubjectKind } from './relations.ts';
export * from './values.ts';
