import { byAPI, mount } from "./app.js";

mount(document.querySelector(".ta-app"), byAPI("api"));
