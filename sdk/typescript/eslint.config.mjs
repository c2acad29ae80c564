import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

const unused = { argsIgnorePattern: "^_", varsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_" };

export default defineConfig([
  globalIgnores(["dist", ".build", "node_modules"]),
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", unused],
      // Numbers in texts are fine; objects are not.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      // A signal's reason is whatever its owner chose.
      "@typescript-eslint/prefer-promise-reject-errors": ["error", { allowThrowingUnknown: true }],
      // Doing nothing is said by an empty function.
      "@typescript-eslint/no-empty-function": "off",
      // What is certain is said by `!` where types cannot know it: after a check, or of a pattern that has matched.
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
      // What providers give up, their users still send.
      "@typescript-eslint/no-deprecated": "off",
    },
  },
  {
    files: ["**/*.mjs"],
    extends: [tseslint.configs.strict],
  },
]);
