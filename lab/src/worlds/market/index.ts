/** @file The world of the market: companies, people and figures whose truth is known. */
export * from './knowledge.ts';
export { marketKnowledge } from './make-knowledge.ts';
export { reportYears } from './figures.ts';
export { relationInfo, relationNames, relations, type Relation, type RelationInfo, type SubjectKind } from './relations.ts';
export * from './values.ts';
export { judgeMarket, judgeStatement } from './judge.ts';
export type { JudgedSentence, JudgedStatement, MarketJudgement, MarketVerdict } from './judge.ts';
export { readMarket, type ReadSentence, type ReadStatement } from './read.ts';
export { registers, type Register } from './wordings/index.ts';
export { grades, type FactMention, type Falsehood, type Grade, type GradedDocument } from './grades.ts';
export { gradeShares, marketDocuments, type MarketDocument, type MarketDocumentOptions } from './stream.ts';
export { untruth, untruths } from './falsify.ts';
export { compileWording, type Wording } from './wording.ts';
export { familyOf, ownWordings, wordingFamilies } from './wordings/index.ts';
export {
  askFor,
  choiceFor,
  questionCount,
  questionLines,
  questionPrompt,
  questionText,
  readQuestion,
  type Asked,
  type ChoiceQuestion,
  type MarketQuestion,
  type QuestionWay,
} from './questions.ts';
export * from './sentiment.ts';
export * from './conversations.ts';
export { sayStatement } from './say.ts';
export { abstains, conciseness, marketReward, politeness, proxyReward, rewardWeights, type MarketReward } from './reward.ts';
export { instructionKinds, marketInstructions } from './instructions.ts';
export type { InstructionKind, MarketInstruction, MarketInstructionOptions } from './instructions.ts';
export * from './preferences.ts';
export { marketFiles, marketSizes } from './dataset.ts';
export type { MarketFile, MarketSize, MarketSizeName, TestQuestion, TrainQuestion } from './dataset.ts';
export { generalText } from './general.ts';
export { askedInTraining } from './split.ts';
export { marketDataset, type MarketDataset, type SeenFact } from './load.ts';
