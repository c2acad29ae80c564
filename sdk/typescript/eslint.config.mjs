import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const unused = { argsIgnorePattern: "^_", varsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_" };

export default defineConfig([
  globalIgnores(["dist", ".build", ".readme", "node_modules", "test/readme-names.d.ts"]),
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", unused],
      // Numbers in template strings are fine; objects are not.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      // A signal's reason can be any value.
      "@typescript-eslint/prefer-promise-reject-errors": ["error", { allowThrowingUnknown: true }],
      // An empty function is the plainest way to do nothing.
      "@typescript-eslint/no-empty-function": "off",
      // `!` states what types cannot know: after a check, or for a pattern that has matched.
      "@typescript-eslint/no-non-null-assertion": "off",
      // The runner awaits its tests.
      "@typescript-eslint/no-floating-promises": ["error", { allowForKnownSafeCalls: [{ from: "package", package: "node:test", name: ["test", "before", "after"] }] }],
    },
  },
  {
    files: ["src/models.ts"],
    rules: { "@typescript-eslint/no-redundant-type-constituents": "off" },
  },
  {
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/require-await": "off",
      // Users of providers still use deprecated fields.
      "@typescript-eslint/no-deprecated": "off",
    },
  },
  {
    files: ["**/*.mjs"],
    extends: [tseslint.configs.strict],
  },
]);
