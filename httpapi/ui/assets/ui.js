// Adds to the pages what they cannot do by themselves. Every page works without it.
import { copyButtons } from "./copy.js";
import { enabling } from "./form.js";

copyButtons(document);
enabling(document);
