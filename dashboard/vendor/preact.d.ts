// Of preact.js as much as the pages use.

export type Child = any;
export function h(type: any, props?: object | null, ...children: Child[]): Child;
export function render(what: Child, where: Element): void;
export function cloneElement(what: Child, props: object): Child;
