import type { Contestant } from "../contestant";
import { ansible } from "./ansible/ansible";
import { byHand } from "./byhand/byhand";
import { engine } from "./ours/engine";
import { engineless } from "./ours/engineless";
import { pyinfra } from "./pyinfra/pyinfra";

/** In the order in which they take their turns. */
export const contestants: readonly Contestant[] = [byHand, ansible, pyinfra, engineless, engine];
