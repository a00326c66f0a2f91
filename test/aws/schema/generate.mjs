// Writes aws.json: the schema of the AWS provider, for the types that types.txt names. Run by hand:
//
//	node generate.mjs
//
// The npm package @cdktf/provider-aws was generated from what the provider itself says of its schema. Each of its
// files ends with a source map that holds the TypeScript, and that says of every attribute whether it is computed,
// optional or required, and of what type. So the way back is a matter of reading.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGE = '@cdktf/provider-aws@21.22.1';
const here = dirname(fileURLToPath(import.meta.url));

// source returns the TypeScript of one of the package's files.
function source(dir) {
  const built = readFileSync(join(dir, 'index.js'), 'utf8');
  const map = built.slice(built.lastIndexOf('base64,') + 'base64,'.length).trim();
  return JSON.parse(Buffer.from(map, 'base64')).sourcesContent[0];
}

// declarations splits a file into its classes, and its functions and interfaces, by name.
function declarations(text) {
  const found = { class: {}, function: {}, interface: {} };
  for (const part of text.split(/^(?=export )/m)) {
    const head = part.match(/^export (class|function|interface) (\w+)/);
    if (head) found[head[1]][head[2]] = part;
  }
  return found;
}

// written reads what can be written in a configuration: name to how it is said in HCL.
function written(body) {
  const found = {};
  for (const [, name, value, isBlock, kind, storage] of body.matchAll(
    /^ +(\w+): \{\n +value: (.*),\n +isBlock: (\w+),\n +type: "(\w+)",\n +storageClassType: "(\w+)",/gm)) {
    found[name] = { value, isBlock: isBlock === 'true', kind, storage };
  }
  return found;
}

// blocks are the members that an interface calls blocks; the others of objects are attributes.
function blocks(body) {
  return new Set([...(body ?? '').matchAll(/^ *\* (\w+) block$/gm)].map((m) => m[1]));
}

const scalars = { string: 'string', number: 'number', boolean: 'bool', any: 'any' };

function typeOfWritten(w, where) {
  if (w.kind === 'simple') return scalars[w.storage] ?? fail(`${where}: ${w.storage}`);
  const m = w.storage.match(/^(string|number|boolean|any)(List|Map)?(List|Map)?$/) ?? fail(`${where}: ${w.storage}`);
  let type = scalars[m[1]];
  if (m[3]) type = `${m[2].toLowerCase()}(${type})`;
  return `${w.kind}(${type})`;
}

function typeOfGetter(part, where) {
  const map = part.match(/= new cdktf\.(String|Number|Boolean|Any)Map\(/);
  if (map) return `map(${scalars[map[1].toLowerCase()]})`;
  const getter = part.match(/public get \w+\(\) \{\n([^}]*)\}/)?.[1] ?? '';
  const set = getter.includes('Fn.tolist(');
  const m = getter.match(/this\.get(String|Number|Boolean|Any)?(List|Map)?(Map)?Attribute\(/) ?? fail(`${where}: ${getter}`);
  const scalar = scalars[(m[1] ?? 'string').toLowerCase()];
  if (!m[2]) return scalar;
  return m[2] === 'Map' ? `map(${scalar})` : `${set ? 'set' : 'list'}(${scalar})`;
}

function fail(what) {
  throw new Error(`not understood: ${what}`);
}

// members reads a class: each attribute as "flags type", each block as an object.
function members(d, className, config, hcl) {
  const body = d.class[className] ?? fail(className);
  const inHCL = written(hcl === undefined ? body : (d.function[hcl] ?? ''));
  const isBlock = blocks(d.interface[config]);
  const out = {};
  const parts = body.split(/^ *\/\/ (?=\w+ - computed: )/m).slice(1);
  for (const part of parts) {
    const [, name, computed, optional, required] = part.match(/^(\w+) - computed: (\w+), optional: (\w+), required: (\w+)/);
    const where = `${className}.${name}`;
    const flags = (required === 'true' ? 'r' : '') + (optional === 'true' ? 'o' : '') + (computed === 'true' ? 'c' : '');
    const member = part.match(/= new (\w+?)(OutputReference|List|Map)\(this, "\w+"(?:, (true|false))?\)/);
    const w = inHCL[name];
    if (!member) {
      out[name] = `${flags} ${w ? typeOfWritten(w, where) : typeOfGetter(part, where)}`;
      continue;
    }
    const [, struct, kind, wrapsSet] = member;
    const lower = struct[0].toLowerCase() + struct.slice(1);
    const nested = members(d, `${struct}OutputReference`, struct, `${lower}ToHclTerraform`);
    if (isBlock.has(name)) {
      const nesting = w.kind === 'struct' ? 'single' : w.kind;
      const bounds = (required === 'true' ? ' min=1' : '') + (kind === 'OutputReference' && nesting !== 'single' ? ' max=1' : '');
      out[name] = { '': nesting + bounds, ...nested };
      continue;
    }
    const fields = Object.entries(nested).map(([k, v]) => `${k}=${v.replace(/^\w* /, '')}`).join(', ');
    const object = `object({${fields}})`;
    if (kind === 'OutputReference') out[name] = `${flags} ${object}`;
    else if (kind === 'Map') out[name] = `${flags} map(${object})`;
    else out[name] = `${flags} ${wrapsSet === 'true' ? 'set' : 'list'}(${object})`;
  }
  return out;
}

// read reads the resource, data source or provider that one directory of the package is for.
function read(dir) {
  const d = declarations(source(dir));
  const [className] = Object.entries(d.class).find(([, body]) => /extends cdktf\.Terraform(Resource|DataSource|Provider) /.test(body));
  return members(d, className, `${className}Config`);
}

// The provider itself has no accessors to read: what it takes is optional, and said once, in HCL.
function readProvider(dir) {
  const d = declarations(source(dir));
  const struct = (body, config) => {
    const out = {};
    for (const [name, w] of Object.entries(written(body))) {
      if (name === 'alias') continue; // the language's own
      if (!w.isBlock) {
        out[name] = `o ${typeOfWritten(w, name)}`;
        continue;
      }
      const fn = w.value.match(/(\w+ToHclTerraform)/)[1];
      const single = !w.value.includes('listMapper');
      out[name] = { '': w.kind + (single ? ' max=1' : ''), ...struct(d.function[fn]) };
    }
    return out;
  };
  return struct(d.class.AwsProvider);
}

const wanted = readFileSync(join(here, 'types.txt'), 'utf8').split('\n').filter((l) => l && !l.startsWith('#'));
const work = mkdtempSync(join(tmpdir(), 'schema-'));
try {
  execFileSync('npm', ['pack', '--silent', PACKAGE], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });
  execFileSync('tar', ['xzf', readdirSync(work).find((f) => f.endsWith('.tgz'))], { cwd: work });
  const lib = join(work, 'package', 'lib');
  const version = source(join(lib, 'vpc')).match(/providerVersion: '([\d.]+)'/)[1];
  const out = { provider: 'hashicorp/aws', version, from: `npm ${PACKAGE}`, config: readProvider(join(lib, 'provider')), resources: {}, data: {} };
  for (const line of wanted) {
    const data = line.startsWith('data ');
    const type = line.replace('data ', '');
    const dir = (data ? 'data-aws-' : '') + type.replace(/^aws_/, '').replaceAll('_', '-');
    out[data ? 'data' : 'resources'][type] = read(join(lib, dir));
  }
  writeFileSync(join(here, 'aws.json'), JSON.stringify(out, null, 1) + '\n');
} finally {
  rmSync(work, { recursive: true });
}
