// Adds to the pages what they cannot do by themselves. Every page works without it.
import { copyButtons } from "./copy.js";
import { commands } from "./commands.js";
import { enabling, choosing } from "./form.js";
import { lines } from "./lines.js";
import { live } from "./live.js";
import { previews } from "./preview.js";
import { countdowns } from "./until.js";

copyButtons(document);
commands(document);
enabling(document);
choosing(document);
lines(document);
live(document);
previews(document);
countdowns(document);
