import { life } from "./life.mjs";
import { PHONE } from "./visitor.mjs";

life("on a phone, dark", process.env.LGW_PHONE_URL, { viewport: PHONE, scheme: "dark" });
