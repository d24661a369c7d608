/**
 * JSON Patch (RFC 6902): the changes that STATE_DELTA and ACTIVITY_DELTA carry.
 */

/**
 * The document after all operations of `patch`; `document` itself is not changed. Throws `TypeError` where an operation
 * does not fit: then none of them counts.
 */
export function applyPatch(document, patch) {
  const holder = { root: structuredClone(document) };
  for (const operation of patch) apply(holder, operation);
  return holder.root;
}

function apply(holder, { op, path, from, value }) {
  switch (op) {
    case "add":
      return add(holder, path, structuredClone(value));
    case "remove":
      return void remove(holder, path);
    case "replace":
      remove(holder, path);
      return add(holder, path, structuredClone(value));
    case "move":
      return add(holder, path, remove(holder, from));
    case "copy":
      return add(holder, path, structuredClone(find(holder, from)));
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

function get(parent, key) {
  const there = Array.isArray(parent) ? isIndex(key, parent.length - 1) : Object.hasOwn(parent, key);
  if (!there) throw new TypeError(`nothing at ${key}`);
  return parent[key];
}

function find(holder, pointer) {
  const { parent, key } = locate(holder, pointer);
  return get(parent, key);
}

function add(holder, pointer, value) {
  const { parent, key } = locate(holder, pointer);
  if (!Array.isArray(parent)) return put(parent, key, value);
  if (key === "-") return void parent.push(value);
  if (!isIndex(key, parent.length)) throw new TypeError(`no index ${key}`);
  return void parent.splice(Number(key), 0, value);
}

function remove(holder, pointer) {
  const { parent, key } = locate(holder, pointer);
  const value = get(parent, key);
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete parent[key];
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
