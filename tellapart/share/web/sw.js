// Keeps the page on this device, so that it works offline; isolates it, so that it may use several threads; and takes shared photos
const { version, files } = PAGE; // which the line that is written above this one defines
const NAME = `page-${version}`;

self.addEventListener("install", event => event.waitUntil((async () => {
  const cache = await caches.open(NAME);
  await cache.addAll(files.map(o => new Request(o, { cache: "no-cache" }))); // all or nothing
  await self.skipWaiting();
})()));

self.addEventListener("activate", event => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("page-") && name !== NAME) await caches.delete(name);
  await self.clients.claim();
})()));

// A response with the headers that let a page use threads
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

async function takeShared(request) {
  const photos = (await request.formData()).getAll("photos"), cache = await caches.open("shared");
  await Promise.all(photos.map((o, i) => cache.put(`shared-${i}`, new Response(o))));
  return Response.redirect("./?shared", 303);
}

self.addEventListener("fetch", event => {
  const { request } = event, url = new URL(request.url);
  if (url.origin !== location.origin) return;
  if (request.method === "POST" && url.pathname.endsWith("/share")) event.respondWith(takeShared(request));
  else if (request.method === "GET") event.respondWith((async () =>
    isolated(await caches.match(request, { ignoreSearch: true, cacheName: NAME }) ?? await fetch(request)))());
});
