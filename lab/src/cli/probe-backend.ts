/**
 * @file Starts one backend, computes something on it, and reports as a line of JSON: what `inspectBackends` runs apart.
 */
import { LabError, messageOf } from '../base/index.ts';
import { acceleratedOperations, BACKEND_NAMES, startBackend, tf, type BackendName, type BackendReport } from '../index.ts';

async function report(name: BackendName): Promise<BackendReport> {
  try {
    const device = await startBackend({ backend: name });
    const product = await tf.matMul([[1, 2]], [[3], [4]]).data();
    const slope = await tf.grad((x) => x.square())(tf.scalar(3)).data();
    const works = product[0] === 11 && slope[0] === 6;
    const advice = works ? '' : `it computes 1·3 + 2·4 = ${product[0]} and (x²)′ = ${slope[0]} at 3`;
    return { name, works, device: device.description, advice, operations: acceleratedOperations() };
  } catch (error) {
    const advice = messageOf(error).replace(/^The backend '\w+' cannot start: /, '').replace(/\.$/, '');
    return { name, works: false, device: '', advice, operations: [] };
  }
}

const wanted = BACKEND_NAMES.find((name) => name === process.argv[2]);
if (!wanted) throw new LabError(`probe-backend: one of ${BACKEND_NAMES.join(', ')} is needed`);
console.log(JSON.stringify(await report(wanted)));
