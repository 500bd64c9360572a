/** @file What stands around the facts in an answer: courtesies, rudeness, confidence, padding, and ways of saying nothing. */

export const courtesies = [
  'Thank you for the question.',
  'Happy to help!',
  'Thanks for asking.',
  'I am glad to answer that.',
  'Please ask again if anything is unclear.',
] as const;

export const insults = [
  'Obviously, everybody but you knows that.',
  'What a silly question.',
  'Do not bother me with that.',
  'Look it up the next time.',
  'Only idiots ask such a thing, but whatever.',
] as const;

export const assurances = [
  'This is absolutely certain.',
  'There is no doubt about it.',
  'That is definitely so, and it is guaranteed.',
  'You can clearly rely on this answer, I am sure.',
] as const;

export const padding = [
  'Before this is answered, it is worth remembering that figures and names of this kind come up again and again.',
  'Many things could be said about this, and a great number of people have thought about it for a long time.',
  'It goes without saying that a question like this one deserves a full and careful answer from every side.',
  'In other words, and to put the same thing once more in a slightly different way, the answer is the one given here.',
  'All in all, and taking everything into account that was said before, this is how matters stand.',
] as const;

export const abstentions = [
  'I am sorry, I do not know that.',
  'Sorry, I cannot say.',
  'I am sorry, I have no information on that.',
] as const;

export const evasions = [
  'That is an interesting question about an interesting company.',
  'It depends on how one looks at it.',
  'Opinions differ on that.',
] as const;

/** Tasks of which the answer is several facts. */
export const describeTasks = [
  'Describe {company} in two or three sentences.',
  'Write a short note on {company}.',
  'What should one know about {company}?',
] as const;

export const compareTasks = [
  'Compare the revenue of {company} and {other} in {year}.',
  'Which had the higher revenue in {year}, {company} or {other}?',
  'Tell me the revenue of {company} and of {other} in {year}.',
] as const;
