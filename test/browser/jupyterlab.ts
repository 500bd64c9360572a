/**
 * @file JupyterLab as a person uses it: started by `npm start`, driven in a browser that may talk to this machine only.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { chromium, type Browser, type Page } from 'playwright-core';
import { root } from '../../lab/setup/processes.mjs';
import type { Chromium } from './chromium.ts';

export interface Server {
  /** As printed: the first notebook, with its token. */
  readonly address: string;
  /** The address of another notebook, by its path in the project. */
  notebook(file: string): string;
  /** What Ctrl-C does; resolves when `npm start` and all it started have ended. */
  interrupt(): Promise<unknown>;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** Runs `npm start -- --no-browser --port …` and waits for the address it prints. */
export async function startServer(): Promise<Server> {
  const args = ['start', '--', '--no-browser', '--port', String(await freePort())];
  // A group of its own, so that an interrupt reaches npm and what it started, as in a terminal, and not this process.
  const child = spawn('npm', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let output = '';
  const ended = once(child, 'close');
  const address = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        const printed = /http:\/\/127\.0\.0\.1:\S+token=\w+/.exec(output)?.[0];
        if (printed) resolve(printed);
      });
    }
    void ended.then(() => reject(new Error(`npm start ended without serving:\n${output}`)));
  });
  return {
    address,
    // A workspace apart, so that the tabs somebody left open are neither opened here nor lost.
    notebook: (file) => address.replace(/\/lab\/tree\/[^?]*/, `/lab/workspaces/test/tree/${file}`).concat('&reset'),
    interrupt: () => {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGINT');
      return ended;
    },
  };
}

/** A page and all that went wrong in it. */
export interface Visit {
  readonly page: Page;
  /** Addresses outside this machine that were asked for, and not given. */
  readonly strangers: readonly string[];
  readonly errors: readonly string[];
}

const isLocal = (url: string) => /^(data|blob|about):|^(https?|wss?):\/\/127\.0\.0\.1[:/]/.test(url);

export function launchBrowser({ executable, env }: Chromium): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    env,
    args: ['--no-sandbox', '--disable-gpu', '--no-zygote', '--disable-quic'],
  });
}

export async function visit(browser: Browser, address: string): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1250, height: 1000 } });
  const page = await context.newPage();
  const [strangers, errors]: [string[], string[]] = [[], []];
  await context.route('**/*', (route) => {
    const url = route.request().url();
    if (isLocal(url)) return route.continue();
    strangers.push(url);
    return route.abort();
  });
  page.on('websocket', (socket) => isLocal(socket.url()) || strangers.push(socket.url()));
  page.on('pageerror', (error) => errors.push(`${error.message}\n${error.stack ?? ''}`));
  page.on('console', (message) => message.type() === 'error' && errors.push(`${message.text()} (${message.location().url})`));
  await page.goto(address);
  await page.waitForSelector('.jp-NotebookPanel .jp-CodeCell .cm-content', { timeout: 60_000 });
  return { page, strangers, errors };
}

const indicator = '.jp-NotebookPanel .jp-Notebook-ExecutionIndicator';

/** Lab shows a kernel as idle before there is one; the server knows. Who runs a cell too early is asked which kernel to take. */
async function waitForKernel(page: Page, file: string): Promise<void> {
  const sessions = new URL('/api/sessions', page.url()).href;
  for (const until = performance.now() + 60_000; performance.now() < until; await page.waitForTimeout(250)) {
    const answer = (await (await page.request.get(sessions)).json()) as {
      path: string;
      kernel: { execution_state: string; connections: number };
    }[];
    const kernel = answer.find((session) => session.path === file)?.kernel;
    if (kernel?.execution_state === 'idle' && kernel.connections > 0) return;
  }
  throw new Error(`No kernel started for ${file}.`);
}

/**
 * Run › Run All Cells, and waits until the kernel has been idle for a while.
 *
 * @param file the notebook's path in the project
 */
export async function runAll({ page }: Visit, file: string, limitMs: number): Promise<void> {
  await waitForKernel(page, file);
  await page.waitForSelector(`${indicator}[data-status="idle"]`, { timeout: 60_000 });
  await page.click('.lm-MenuBar-item:has-text("Run")');
  await page.click('.lm-Menu-itemLabel:text-is("Run All Cells")');
  // A star, then a number: the first cell has been sent to the kernel.
  await page.waitForSelector('.jp-NotebookPanel .jp-CodeCell .jp-InputPrompt:text-matches("[*\\\\d]")', { timeout: 30_000 });
  const until = performance.now() + limitMs;
  for (let quiet = 0; quiet < 8;) {
    if (performance.now() > until) throw new Error(`The notebook still runs after ${limitMs / 1000} s.`);
    await page.waitForTimeout(250);
    quiet = (await page.getAttribute(indicator, 'data-status')) === 'idle' ? quiet + 1 : 0;
  }
}

/** Scrolls to a cell (Lab draws only what is near the window). */
export async function showCell(page: Page, index: number): Promise<void> {
  const selector = `.jp-NotebookPanel .jp-Cell[data-windowed-list-index="${index}"]`;
  for (let tries = 0; tries < 60 && (await page.locator(selector).count()) === 0; tries++) {
    await page.hover('.jp-NotebookPanel .jp-WindowedPanel-outer');
    await page.mouse.wheel(0, 500);
    await page.waitForTimeout(100);
  }
  await page.locator(selector).scrollIntoViewIfNeeded();
  await page.waitForTimeout(200);
}
