import { life } from "./life.mjs";
import { DESKTOP } from "./visitor.mjs";

life("without a script", process.env.LGW_PLAIN_URL, { viewport: DESKTOP, script: false });
