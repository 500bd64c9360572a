/** @file Whether there is a GPU to test on: the software one, on the machines that it was made for. */
export const hasSoftwareGpu = process.platform === 'linux' && process.arch === 'x64';
