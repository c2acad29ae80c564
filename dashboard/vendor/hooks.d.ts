// Of hooks.js as much as the pages use.

export type Set<T> = (value: T | ((before: T) => T)) => void;
export function useState<T>(first: T | (() => T)): [T, Set<T>];
export function useEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useRef<T>(first: T): { current: T };
export function useCallback<T extends (...given: any[]) => any>(callback: T, inputs: readonly unknown[]): T;
export function useId(): string;
export function useErrorBoundary(told?: (error: Error) => void): [Error | undefined, () => void];
