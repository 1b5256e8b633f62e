// Answers one prompt under one plan after the other, each written to the plan's file while the
// model stays loaded: node sweep.mjs cpu|vulkan model.gguf prompt plan.json freeze@1 freeze@2 ...
import fs from "node:fs";
import {getLlama} from "node-llama-cpp";

const [processor, file, prompt, plan, ...steps] = process.argv.slice(2);
// One thread: the prebuilt runtime's threads spin while they wait for each other.
const llama = await getLlama({build: "never", gpu: processor === "cpu" ? false : processor, maxThreads: 1, logLevel: "error"});
if ((llama.gpu || "cpu") !== processor) throw new Error(`this runtime computes on ${llama.gpu || "cpu"}`);
const model = await llama.loadModel({modelPath: file, gpuLayers: llama.gpu ? "max" : 0});
const context = await model.createContext({contextSize: 256, sequences: 1, threads: 1});
const sequence = context.getSequence();
const tokens = model.tokenize(prompt);
for (const step of steps) {
  const [manipulation, layer] = step.split("@");
  const interventions = [{manipulation, layer: Number(layer), seed: 1}];
  fs.writeFileSync(plan + ".new", JSON.stringify({midlayer_plan: 1, interventions}));
  fs.renameSync(plan + ".new", plan);
  await sequence.eraseContextTokenRanges([{start: 0, end: sequence.nextTokenIndex}]);
  let answer = null;
  for await (const token of sequence.evaluate(tokens, {temperature: 0})) {
    answer = token;
    break;
  }
  console.log(JSON.stringify({step, answer}));
}
process.exit(0);
