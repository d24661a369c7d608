/**
 * JSON Patch (RFC 6902): the changes that STATE_DELTA and ACTIVITY_DELTA carry.
 */

/** How large copies may make a document, in characters of its JSON: each may double it, and a patch has room for many. */
const MAX_SIZE = 4 * 1024 * 1024;

/**
 * Apply all operations of `patch` to `document`, in place, and return the document: another value where the patch
 * replaced it as a whole. Throws `TypeError` where an operation does not fit, or copies too much; the document is then as
 * it was before.
 */
export function applyPatch(document, patch) {
  const holder = { root: document, room: null };
  const undo = [];
  try {
    for (const operation of patch) apply(holder, operation, undo);
  } catch (error) {
    while (undo.length > 0) undo.pop()();
    throw error;
  }
  return holder.root;
}

function apply(holder, { op, path, from, value }, undo) {
  switch (op) {
    case "add":
      return add(holder, path, structuredClone(value), undo);
    case "remove":
      return void remove(holder, path, undo);
    case "replace":
      remove(holder, path, undo);
      return add(holder, path, structuredClone(value), undo);
    case "move":
      if (path.startsWith(`${from}/`)) throw new TypeError(`${from} cannot move into itself`);
      return add(holder, path, remove(holder, from, undo), undo);
    case "copy":
      return add(holder, path, copied(holder, from), undo);
    case "test":
      if (!equal(find(holder, path), value)) throw new TypeError(`test failed at ${path}`);
      return undefined;
    default:
      throw new TypeError(`unknown operation ${op}`);
  }
}

/** The object that holds what `pointer` names, and the key in it. The whole document is `holder.root`. */
function locate(holder, pointer) {
  if (typeof pointer !== "string" || (pointer !== "" && !pointer.startsWith("/"))) throw new TypeError("bad pointer");
  const keys = pointer.split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  let parent = holder;
  let key = "root";
  for (const next of keys.slice(1)) {
    parent = get(parent, key);
    if (typeof parent !== "object" || parent === null) throw new TypeError(`nothing at ${pointer}`);
    key = next;
  }
  return { parent, key };
}

function copied(holder, pointer) {
  const text = JSON.stringify(find(holder, pointer));
  holder.room ??= MAX_SIZE - JSON.stringify(holder.root).length;
  holder.room -= text.length;
  if (holder.room < 0) throw new TypeError(`too much to copy at ${pointer}`);
  return JSON.parse(text);
}

function get(parent, key) {
  const there = Array.isArray(parent) ? isIndex(key, parent.length - 1) : Object.hasOwn(parent, key);
  if (!there) throw new TypeError(`nothing at ${key}`);
  return parent[key];
}

function find(holder, pointer) {
  const { parent, key } = locate(holder, pointer);
  return get(parent, key);
}

function add(holder, pointer, value, undo) {
  const { parent, key } = locate(holder, pointer);
  if (!Array.isArray(parent)) {
    const before = Object.getOwnPropertyDescriptor(parent, key);
    undo.push(() => (before === undefined ? delete parent[key] : Object.defineProperty(parent, key, before)));
    put(parent, key, value);
    return;
  }
  const index = key === "-" ? parent.length : Number(key);
  if (key !== "-" && !isIndex(key, parent.length)) throw new TypeError(`no index ${key}`);
  parent.splice(index, 0, value);
  undo.push(() => parent.splice(index, 1));
}

function remove(holder, pointer, undo) {
  const { parent, key } = locate(holder, pointer);
  const value = get(parent, key);
  if (Array.isArray(parent)) {
    parent.splice(Number(key), 1);
    undo.push(() => parent.splice(Number(key), 0, value));
  } else {
    delete parent[key];
    undo.push(() => put(parent, key, value));
  }
  return value;
}

/** As JSON means it, also for the name `__proto__`. */
function put(object, key, value) {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function isIndex(key, last) {
  return /^(0|[1-9]\d*)$/.test(key) && Number(key) <= last;
}

function equal(a, b) {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key], b[key]));
}
