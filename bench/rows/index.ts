import type { Row } from "../measurement";
import { artifacts } from "./artifacts";
import { change } from "./change";
import { cold } from "./cold";
import { drift } from "./drift";
import { growth } from "./growth";
import { memory } from "./memory";
import { nothing } from "./nothing";
import { requests } from "./requests";
import { rotation } from "./rotation";
import { runs } from "./runs";
import { start } from "./start";
import { upgrade } from "./upgrade";

/** In the order in which they are measured, and of the table. What fills the database comes after what is measured on an empty one. */
export const rows: readonly Row[] = [
  cold,
  nothing,
  drift,
  memory,
  start,
  change,
  rotation,
  requests,
  artifacts,
  runs,
  upgrade,
  growth,
];
