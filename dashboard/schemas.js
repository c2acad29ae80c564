// What an OpenAPI document says of its operations and of their fields.

/** The last word of `#/components/schemas/Problem`. */
const nameOf = (reference) => reference.split('/').at(-1);

const methods = ['get', 'put', 'post', 'delete'];

export class Schemas {
  constructor(document) {
    this.document = document;
  }

  /** What a reference refers to, or the thing itself. */
  resolve(thing) {
    if (!thing?.$ref) return thing;
    return thing.$ref.slice('#/'.length).split('/').reduce((place, name) => place?.[name], this.document);
  }

  /** A schema's type in words. */
  type(schema) {
    if (!schema || schema === true) return 'anything';
    if (schema.$ref) return this.#hasFields(schema) ? nameOf(schema.$ref) : this.type(this.resolve(schema));
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
    const either = schema.oneOf ?? schema.anyOf;
    if (either) return [...new Set(either.map((one) => this.type(one)))].join(' or ');
    if (schema.allOf) return [...new Set(schema.allOf.map((one) => this.type(one)))].join(' with ');
    if (Array.isArray(schema.type)) return schema.type.map((type) => this.type({ ...schema, type })).join(' or ');
    if (schema.type === 'array') return `list of ${this.type(schema.items)}`;
    if (schema.type === 'object' && !schema.properties && schema.additionalProperties) return `map of ${this.type(schema.additionalProperties)}`;
    return schema.type ?? 'anything';
  }

  #hasFields(schema) {
    const target = this.resolve(schema);
    return Boolean(target?.properties ?? target?.allOf);
  }

  /**
   * What has fields of its own in a schema, by name; '' where it has none.
   * @returns {{name: string, schema: any}[]}
   */
  parts(schema) {
    if (!schema || schema === true) return [];
    if (this.#hasFields(schema)) return [{ name: schema.$ref ? nameOf(schema.$ref) : '', schema: this.resolve(schema) }];
    if (schema.$ref) return this.parts(this.resolve(schema));
    const inner = [...(schema.oneOf ?? schema.anyOf ?? []), schema.items, schema.additionalProperties];
    return inner.flatMap((one) => this.parts(one));
  }

  /** The fields of what has some, those that are needed first. */
  fields(schema) {
    const inherited = (schema.allOf ?? []).flatMap((one) => this.fields(this.resolve(one)));
    const needed = new Set(schema.required ?? []);
    const own = Object.entries(schema.properties ?? {}).map(([name, field]) => ({ name, schema: field, required: needed.has(name) }));
    return [...inherited, ...own].sort((one, other) => Number(other.required) - Number(one.required));
  }

  /** What is said of a field, also where it stands with one of its types. */
  about(schema) {
    const said = schema.description ?? (schema.oneOf ?? schema.anyOf ?? []).find((one) => one.description)?.description;
    const range = schema.minimum !== undefined && schema.maximum !== undefined ? `From ${schema.minimum} to ${schema.maximum}.` : '';
    const preset = schema.default !== undefined ? `Default \`${JSON.stringify(schema.default)}\`.` : '';
    // Some texts say it themselves.
    return [said, said?.includes(schema.maximum) ? '' : range, /default/i.test(said ?? '') ? '' : preset].filter(Boolean).join(' ');
  }

  /** Names of all fields in a schema, however deep. */
  #names(schema, seen) {
    return this.parts(schema).flatMap(({ schema }) => {
      if (seen.has(schema)) return [];
      seen.add(schema);
      return this.fields(schema).flatMap((field) => [field.name, ...this.#names(field.schema, seen)]);
    });
  }

  /** The operations by their tags, what applications call first and else in the order of the document, each with all words that it can be found by. */
  groups() {
    const groups = new Map([['Metering', []]]);
    for (const [path, item] of Object.entries(this.document.paths)) {
      for (const method of methods.filter((method) => item[method])) {
        const operation = this.#operation(method.toUpperCase(), path, item[method]);
        const name = item[method].tags?.[0] ?? 'Other';
        groups.set(name, [...(groups.get(name) ?? []), operation]);
      }
    }
    return [...groups].map(([name, operations]) => ({ name, operations }));
  }

  #operation(method, path, given) {
    const parameters = (given.parameters ?? []).map((parameter) => this.resolve(parameter));
    const body = this.resolve(given.requestBody);
    const schemaOf = (content) => Object.values(content ?? {})[0]?.schema;
    const answers = Object.entries(given.responses).map(([status, answer]) => {
      const { content, description } = this.resolve(answer);
      return { status, description, kind: Object.keys(content ?? {})[0], schema: schemaOf(content) };
    });
    const seen = new Set();
    const fields = [schemaOf(body?.content), ...answers.map((answer) => answer.schema)].flatMap((schema) => this.#names(schema, seen));
    const own = [method, path, given.operationId, given.summary, given.description, ...(given.tags ?? [])];
    const words = [...own, ...parameters.map((parameter) => parameter.name), ...fields].filter(Boolean).join(' ').toLowerCase();
    return { id: given.operationId, method, path, summary: given.summary, description: given.description, parameters, body: body && { required: body.required, schema: schemaOf(body.content) }, answers, words };
  }
}
