// What the page keeps on this device: predictions of a folder that is being sorted, and examples that it learned from

const request = o => new Promise((resolve, reject) => {
  o.onsuccess = () => resolve(o.result);
  o.onerror = () => reject(new Error(`This browser keeps nothing on this device (${o.error?.name}): allow it to, or leave private browsing.`));
});

export class Store {
  // `id` names the model, so that another one doesn't answer for it
  static async open(id) {
    const opening = indexedDB.open(`tellapart-${id}`, 1), store = new Store();
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("predictions");
      opening.result.createObjectStore("examples", { autoIncrement: true });
    };
    store.db = await request(opening);
    return store;
  }

  table(name, mode = "readonly") { return this.db.transaction(name, mode).objectStore(name); }

  // The predictions of a folder, by the keys of its photos
  async predictions(folder) {
    const range = IDBKeyRange.bound([folder], [folder, []]), table = this.table("predictions");
    const [keys, values] = await Promise.all([request(table.getAllKeys(range)), request(table.getAll(range))]);
    return new Map(keys.map((key, i) => [key[1], values[i]]));
  }

  // Keeps predictions, [[key, value]], of a folder
  async keep(folder, rows) {
    const table = this.table("predictions", "readwrite");
    await Promise.all(rows.map(([key, value]) => request(table.put(value, [folder, key]))));
  }

  async examples() { return request(this.table("examples").getAll()); }
  async addExample(example) { return request(this.table("examples", "readwrite").add(example)); }
  async forgetExamples() { return request(this.table("examples", "readwrite").clear()); }
}
