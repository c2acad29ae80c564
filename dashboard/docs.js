// The API reference: /openapi.json, to be read.

import { render } from './vendor/preact.js';
import { useEffect, useRef, useState } from './vendor/hooks.js';
import { examples, openapi, tryCall } from './api.js';
import { Badge, Copy, Field, Loaded, html, plural, useLoad } from './ui.js';
import { Schemas } from './schemas.js';

async function load(signal) {
  const [document, recorded] = await Promise.all([openapi(signal), examples(signal)]);
  const schemas = new Schemas(document);
  return { schemas, recorded, groups: schemas.groups() };
}

/** Which operation the address names. */
const named = () => {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
};

/** Paragraphs, with code between backticks. */
const Prose = ({ text }) =>
  text ? text.split('\n\n').map((part) => html`<p>${part.split('`').map((piece, place) => (place % 2 ? html`<code>${piece}</code>` : piece))}</p>`) : null;

/** Its inside is made when it is first opened: all of them at once would be a hundred thousand nodes. */
function Details({ summary, children, open = false, ...rest }) {
  const [opened, setOpened] = useState(open);
  return html`<details ...${rest} open=${open} onToggle=${(event) => event.currentTarget.open && setOpened(true)}>
    <summary>${summary}</summary>
    ${opened ? children() : null}
  </details>`;
}

const Required = ({ when }) => (when ? html` <${Badge}>required<//>` : null);

const Parts = ({ schemas, schema }) =>
  schemas.parts(schema).map((part) => html`<${Details} summary=${`Fields of ${part.name || 'it'}`}>${() => html`<${Fields} schemas=${schemas} of=${part.schema} />`}<//>`);

const Fields = ({ schemas, of }) => html`<ul class="parts">
  ${schemas.fields(of).map(({ name, schema, required }) => html`<li>
    <code>${name}</code> <span class="type">${schemas.type(schema)}</span><${Required} when=${required} />
    <${Prose} text=${schemas.about(schema)} />
    <${Parts} schemas=${schemas} schema=${schema} />
  </li>`)}
</ul>`;

/** The fields of a body or of an answer, at once if it is one thing. */
function Shape({ schemas, schema }) {
  const parts = schemas.parts(schema);
  return html`<p class="type">${schemas.type(schema)}</p>
    ${parts.length === 1 ? html`<${Fields} schemas=${schemas} of=${parts[0].schema} />` : html`<${Parts} schemas=${schemas} schema=${schema} />`}`;
}

const Answer = ({ schemas, answer }) => {
  const { status, description, kind, schema } = answer;
  const summary = html`<strong>${status}</strong> ${schema ? schemas.type(schema) : 'without a body'}`;
  const inside = () => html`<div class="prose"><${Prose} text=${description} />${kind && html`<p class="quiet"><code>${kind}</code></p>`}${schema && html`<${Shape} schemas=${schemas} schema=${schema} />`}</div>`;
  return html`<${Details} class="answer" summary=${summary}>${inside}<//>`;
};

const pretty = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));

/** Answers that are JSON are set out over lines. */
function setOut(text) {
  try {
    return pretty(JSON.parse(text));
  } catch {
    return text;
  }
}

const keys = { test: 'sk_test_…', admin: 'ak_…' };

/** A call as it was recorded from a gateway. */
function Example({ example }) {
  const request = [`${example.method} ${example.path}`, `Authorization: Bearer ${keys[example.key]}`, ...(example.body ? ['', pretty(example.body)] : [])].join('\n');
  return html`<h3>Example</h3><div class="example"><pre tabindex="0">${request}</pre><${Copy} text=${request} label="Copy the request" small /></div>
    <p class="quiet">Answer ${example.status}</p>${example.answer !== undefined && html`<pre tabindex="0">${pretty(example.answer)}</pre>`}`;
}

/** The test key that was typed, for all operations of this page. It is not stored. */
let typedKey = '';

/** Sends the example, or what became of it, with a test key. */
function TryIt({ example }) {
  const [key, setKey] = useState(typedKey);
  const [path, setPath] = useState(example.path);
  const [body, setBody] = useState(example.body ? pretty(example.body) : '');
  const [state, setState] = useState({ busy: false, answer: null, fault: '' });
  const isTest = /^(sk|pk)_test_/.test(key.trim());
  const send = async (event) => {
    event.preventDefault();
    if (!isTest) {
      setState({ busy: false, answer: null, fault: 'Enter a test key: sk_test_… or pk_test_…' });
      return;
    }
    typedKey = key.trim();
    setState({ busy: true, answer: null, fault: '' });
    try {
      setState({ busy: false, answer: await tryCall(example.method, path, typedKey, body.trim()), fault: '' });
    } catch {
      setState({ busy: false, answer: null, fault: 'The gateway cannot be reached.' });
    }
  };
  return html`<form class="try-it" onSubmit=${send}>
    <div class="fields">
      <${Field} label="Test key" hint="The call changes the key’s sandbox, and nothing else." fault=${state.fault}><input name="key" type="password" autocomplete="off" value=${key} onInput=${(event) => setKey(event.target.value)} /><//>
      <${Field} label=${`${example.method} path`}><input name="path" spellcheck=${false} value=${path} onInput=${(event) => setPath(event.target.value)} /><//>
    </div>
    ${example.body && html`<${Field} label="Body"><textarea name="body" class="code" spellcheck=${false} rows=${Math.min(16, body.split('\n').length)} value=${body} onInput=${(event) => setBody(event.target.value)}></textarea><//>`}
    <button type="submit" class="primary" disabled=${state.busy}>${state.busy ? 'Sending…' : 'Send'}</button>
    <div role="status">${state.answer && html`<p>Answer <${Badge} kind=${state.answer.status < 300 ? 'good' : 'bad'}>${state.answer.status}<//></p><pre tabindex="0">${setOut(state.answer.text)}</pre>`}</div>
  </form>`;
}

const canTry = (example) => example.key === 'test' && !example.path.includes('/stream');

function Operation({ schemas, operation, example }) {
  const { id, method, path, summary, description, parameters, body, answers } = operation;
  const head = html`<span class=${`method ${method}`}>${method}</span> <code>${path}</code> <span class="about">${summary}</span>`;
  const inside = () => html`<div class="inside">
    <${Prose} text=${description} />
    <p class="quiet"><a href=${`#${id}`}>${id}</a></p>
    ${example && html`<${Example} example=${example} />`}
    ${example && canTry(example) && html`<${Details} class="answer" summary="Try it">${() => html`<${TryIt} example=${example} />`}<//>`}
    ${parameters.length > 0 && html`<h3>Parameters</h3><ul class="parts">
      ${parameters.map((parameter) => html`<li><code>${parameter.name}</code> <span class="type">${parameter.in}, ${schemas.type(parameter.schema)}</span><${Required} when=${parameter.required} />
        <${Prose} text=${parameter.description} /></li>`)}
    </ul>`}
    ${body && html`<h3>Body<${Required} when=${body.required} /></h3><${Shape} schemas=${schemas} schema=${body.schema} />`}
    <h3>Answers</h3>
    ${answers.map((answer) => html`<${Answer} schemas=${schemas} answer=${answer} />`)}
  </div>`;
  return html`<${Details} class="operation" id=${id} open=${named() === id} summary=${head}>${inside}<//>`;
}

function Reference({ schemas, groups, recorded }) {
  const [search, setSearch] = useState('');
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = groups
    .map(({ name, operations }) => ({ name, operations: operations.filter((operation) => words.every((word) => operation.words.includes(word))) }))
    .filter(({ operations }) => operations.length > 0);
  const count = found.reduce((sum, { operations }) => sum + operations.length, 0);
  const anchor = (name) => `group-${name.toLowerCase().replaceAll(' ', '-')}`;
  return html`
    <form class="filter" role="search" onSubmit=${(event) => event.preventDefault()}>
      <${Field} label="Search" hint="In paths, texts and names of fields."><input name="search" type="search" data-search value=${search} onInput=${(event) => setSearch(event.target.value)} /><//>
    </form>
    <p class="quiet" role="status">${words.length > 0 ? `${plural(count, 'operation')} found` : plural(count, 'operation')}</p>
    <nav aria-label="Groups"><ul class="groups">${found.map(({ name }) => html`<li><a href=${`#${anchor(name)}`}>${name}</a></li>`)}</ul></nav>
    ${found.map(({ name, operations }) => html`<section key=${name}>
      <h2 id=${anchor(name)}>${name}</h2>
      ${operations.map((operation) => html`<${Operation} key=${operation.id} schemas=${schemas} operation=${operation} example=${recorded[operation.id]} />`)}
    </section>`)}`;
}

/** `/` goes to the search, as in the dashboard. */
function onKey(event) {
  /** @type {HTMLElement | null} */
  const search = document.querySelector('[data-search]');
  if (event.key !== '/' || !search || event.target.closest('input') || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
}

/** Opens the operation that the address names, and goes there. */
function show() {
  const place = document.getElementById(named());
  if (place instanceof HTMLDetailsElement) place.open = true;
  place?.scrollIntoView();
}

function App() {
  const reference = useLoad(load, []);
  const arrived = useRef(false);
  useEffect(() => {
    addEventListener('keydown', onKey);
    addEventListener('hashchange', show);
  }, []);
  useEffect(() => {
    if (!reference.data || arrived.current) return;
    arrived.current = true;
    show();
  }, [reference.data]);
  return html`<main class="reference">
    <header class="heading"><h1 tabindex="-1">API</h1><div class="actions"><a href="./">Dashboard</a> <a href="openapi.json">openapi.json</a></div></header>
    <p>JSON in, JSON out. A key comes with each call, as <code>Authorization: Bearer …</code> or as <code>X-Api-Key: …</code>. Every error is a problem (RFC 9457) with a <code>code</code>.</p>
    <${Loaded} of=${reference} what="the API document">${() => html`<${Reference} ...${reference.data} />`}<//>
  </main>`;
}

const root = document.getElementById('root');
root.replaceChildren();
render(html`<${App} />`, root);
