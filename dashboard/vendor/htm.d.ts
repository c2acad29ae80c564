// Of htm.js as much as the pages use.

type Tag = (strings: TemplateStringsArray, ...values: any[]) => any;
declare const htm: { bind(h: (...given: any[]) => any): Tag };
export default htm;
