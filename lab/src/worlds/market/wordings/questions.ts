/**
 * @file How questions are asked: some ways to learn from, and others that are held out, so that who answers those knows the
 * fact and not the question. The slots are explained in `wording.ts`.
 */
import type { Relation } from '../relations.ts';

export interface QuestionWordings {
  readonly train: readonly string[];
  readonly heldOut: readonly string[];
}

export const questionWordings: Readonly<Record<Relation, QuestionWordings>> = {
  sector: {
    train: [
      'In which sector is {Company!} active?',
      "What is {Company's} line of business?",
      'What sector does {Company!} belong to?',
      'What does {Company!} do?',
    ],
    heldOut: ['Which sector is {Company!} in?', 'What is the business of {Company!}?', "What is {Company's} sector?"],
  },
  headquarters: {
    train: [
      'Where is {Company!} based?',
      'In which city does {Company!} have its head office?',
      "What is {Company's} home city?",
      'From which city is {Company!} run?',
    ],
    heldOut: [
      'Where are the headquarters of {Company!}?',
      'In which city is {Company!} based?',
      "Which city is {Company's} seat?",
    ],
  },
  founded: {
    train: [
      'When was {Company!} founded?',
      'In which year was {Company!} incorporated?',
      "What is {Company's} founding year?",
      'Since when has {Company!} existed?',
    ],
    heldOut: ['In which year was {Company!} founded?', 'When did {Company!} start?', "When was {Company's} founding?"],
  },
  founder: {
    train: [
      'Who founded {Company!}?',
      'Who was the founder of {Company!}?',
      'Which person established {Company!}?',
      'To whom does {Company!} go back?',
    ],
    heldOut: ["Who is {Company's} founder?", 'Who established {Company!}?', 'By whom was {Company!} founded?'],
  },
  chiefExecutive: {
    train: [
      'Who runs {Company!}?',
      'Who is the chief executive of {Company!}?',
      "Who is {Company's} boss?",
      'Which person leads {Company!}?',
    ],
    heldOut: ["Who is {Company's} chief executive?", 'Who leads {Company!}?', 'By whom is {Company!} led?'],
  },
  ledSince: {
    train: [
      'Since when has {Company!} had its chief executive?',
      'In which year did the boss of {Company!} come?',
      'When did the chief executive of {Company!} take office?',
      "When was {Company's} chief executive appointed?",
    ],
    heldOut: [
      'Since when has the chief executive of {Company!} been in office?',
      "In which year did {Company's} chief executive take over?",
      'When did {Company!} get its chief executive?',
    ],
  },
  financeChief: {
    train: [
      'Who is the chief financial officer of {Company!}?',
      'Who looks after the finances of {Company!}?',
      "Who is {Company's} finance chief?",
      'Which person keeps the books of {Company!}?',
    ],
    heldOut: [
      "Who is {Company's} chief financial officer?",
      'Who is in charge of finances at {Company!}?',
      'Who is the finance chief of {Company!}?',
    ],
  },
  ticker: {
    train: [
      'What is the ticker of {Company!}?',
      'Under which symbol is {Company!} listed?',
      'How do traders call {Company!}?',
      "Which symbol do {Company's} shares have?",
    ],
    heldOut: [
      "What is {Company's} ticker symbol?",
      'Under which ticker does {Company!} trade?',
      'What is the stock symbol of {Company!}?',
    ],
  },
  product: {
    train: [
      'What does {Company!} make?',
      'Which product comes from {Company!}?',
      'What does {Company!} sell?',
      "What is one of {Company's} products?",
    ],
    heldOut: ['Which product does {Company!} make?', 'What is a product of {Company!}?', 'What does {Company!} produce?'],
  },
  competitor: {
    train: [
      'Who competes with {Company!}?',
      'Which company is a rival of {Company!}?',
      'With whom does {Company!} fight for customers?',
      "Who is one of {Company's} competitors?",
    ],
    heldOut: [
      'Which company competes with {Company!}?',
      "Who is one of {Company's} rivals?",
      'Who is a competitor of {Company!}?',
    ],
  },
  supplier: {
    train: [
      'Who supplies {Company!}?',
      'From whom does {Company!} buy?',
      'Which company delivers to {Company!}?',
      "Who is one of {Company's} suppliers?",
    ],
    heldOut: [
      'Which company supplies {Company!}?',
      'Who is a supplier of {Company!}?',
      'From which company does {Company!} buy?',
    ],
  },
  acquired: {
    train: [
      'Which firm did {Company!} buy in {year}?',
      'Whom did {Company!} take over in {year}?',
      'In {year}, which firm was acquired by {Company!}?',
      'Which firm became a part of {Company!} in {year}?',
    ],
    heldOut: [
      'Which firm did {Company!} acquire in {year}?',
      'Whom did {Company!} acquire in {year}?',
      "What was {Company's} acquisition in {year}?",
    ],
  },
  revenue: {
    train: [
      'What was the revenue of {Company!} in {period}?',
      'How much did {Company!} take in in {period}?',
      'What did sales at {Company!} come to in {period}?',
      "How high were {Company's} sales in {period}?",
    ],
    heldOut: [
      "What was {Company's} revenue in {period}?",
      'How much revenue did {Company!} have in {period}?',
      'How high was the revenue of {Company!} in {period}?',
    ],
  },
  netIncome: {
    train: [
      'What was the net income of {Company!} in {period}?',
      'What was left for {Company!} after all costs in {period}?',
      'What was the profit or loss of {Company!} in {period}?',
      "How high was {Company's} profit or loss in {period}?",
    ],
    heldOut: [
      "What was {Company's} net income in {period}?",
      'How high was the net income of {Company!} in {period}?',
      'What did {Company!} earn in {period}?',
    ],
  },
  revenueGrowth: {
    train: [
      'By how much did the revenue of {Company!} change in {year}?',
      'How fast did {Company!} grow in {year}?',
      'What was the growth of {Company!} in {year}?',
      'By what share did sales at {Company!} change in {year}?',
    ],
    heldOut: [
      "What was {Company's} revenue growth in {year}?",
      'How much did {Company!} grow in {year}?',
      "By how much did {Company's} sales change in {year}?",
    ],
  },
  netMargin: {
    train: [
      'What was the net margin of {Company!} in {year}?',
      'Which share of its revenue did {Company!} keep in {year}?',
      'What was the profit margin of {Company!} in {year}?',
      'With which margin did {Company!} work in {year}?',
    ],
    heldOut: [
      "What was {Company's} net margin in {year}?",
      'How high was the net margin of {Company!} in {year}?',
      "What was {Company's} profit margin in {year}?",
    ],
  },
  employees: {
    train: [
      'How many people worked for {Company!} in {year}?',
      'How many employees did {Company!} have in {year}?',
      'How large was the staff of {Company!} in {year}?',
      'How many people were on the payroll of {Company!} in {year}?',
    ],
    heldOut: [
      'How many people did {Company!} employ in {year}?',
      "What was {Company's} number of employees in {year}?",
      'How many workers did {Company!} have in {year}?',
    ],
  },
  sharePrice: {
    train: [
      'What did a share of {Company!} cost at the end of {year}?',
      'At which price did shares of {Company!} end {year}?',
      'Where did the stock of {Company!} stand when {year} ended?',
      'What was a share of {Company!} worth at the end of {year}?',
    ],
    heldOut: [
      "What was {Company's} share price at the end of {year}?",
      'At which price did the stock of {Company!} finish {year}?',
      'How much was one share of {Company!} at the end of {year}?',
    ],
  },
  birthYear: {
    train: [
      'When was {Person!} born?',
      'What is the year of birth of {Person!}?',
      'In which year did {Person!} come into the world?',
      "What is {Person's} birth year?",
    ],
    heldOut: [
      'In which year was {Person!} born?',
      "What is {Person's} year of birth?",
      'When did the life of {Person!} begin?',
    ],
  },
  birthplace: {
    train: [
      'Where was {Person!} born?',
      'Where does {Person!} come from?',
      "What is {Person's} home town?",
      'In which city did {Person!} grow up?',
    ],
    heldOut: ['In which city was {Person!} born?', "What is {Person's} birthplace?", 'Which city is {Person!} from?'],
  },
  studied: {
    train: [
      'What did {Person!} study?',
      'In what does {Person!} have a degree?',
      "What was {Person's} subject at university?",
      'What did {Person!} learn at university?',
    ],
    heldOut: [
      'Which subject did {Person!} study?',
      'What is the degree of {Person!} in?',
      "What was {Person's} field of study?",
    ],
  },
  launched: {
    train: [
      'When was {Product} launched?',
      'When did {Product} come out?',
      'Since when has {Product} been sold?',
      'When did sales of {Product} begin?',
    ],
    heldOut: ['In which month was {Product} launched?', 'When was {Product} introduced?', 'When did {Product} go on sale?'],
  },
};
