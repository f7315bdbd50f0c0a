import { life } from "./life.mjs";
import { DESKTOP } from "./visitor.mjs";

life("on a desktop", process.env.LGW_DESKTOP_URL, { viewport: DESKTOP, scheme: "light" });
