/** Frames of a machine that a guest was given show what is in the guest's memory; others are the machine's own. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HostMemory, NOT_GIVEN } from "../../../arch/memory/host-memory.ts";
import { PhysicalMemory } from "../../../arch/memory/physical-memory.ts";

const step = fc.record({
  kind: fc.constantFrom("give", "take", "host", "guest", "bytes", "copy", "zero frame", "zero frames", "zero words"),
  host: fc.integer({ min: 0, max: 15 }),
  guest: fc.integer({ min: 0, max: 7 }),
  word: fc.integer({ min: 0, max: 3 }),
  value: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
});

test.each([1, 4])("random gifts of pages of %i frames, reads and writes on both sides", (pageFrames) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const guest = new PhysicalMemory(2 ** 20);
      const host = new HostMemory(2 ** 22, guest);
      host.choosePageFrames(pageFrames);
      const owner = new Map<number, number>();
      const words = new Map<string, number>();
      const place = (frame: number): string => {
        const page = Math.floor(frame / pageFrames);
        const given = owner.get(page);
        return given === undefined ? `host ${frame}` : `guest ${given * pageFrames + (frame % pageFrames)}`;
      };
      for (const { kind, host: at, guest: of, word, value } of steps) {
        if (kind === "give") {
          host.give(at * pageFrames, of * pageFrames);
          owner.set(at, of);
        } else if (kind === "take") {
          host.takeBack(at * pageFrames);
          owner.delete(at);
        } else if (kind === "bytes") {
          host.frameBytes(at).fill(value & 0xff, word * 4, word * 4 + 4);
          words.set(`${place(at)} ${word}`, Math.imul(value & 0xff, 0x0101_0101));
        } else if (kind === "copy") {
          host.copyFrame(at, of);
          for (let i = 0; i < 4; i++) words.set(`${place(of)} ${i}`, words.get(`${place(at)} ${i}`) ?? 0);
        } else if (kind === "zero words") {
          host.zeroWords(at, word, 1);
          words.delete(`${place(at)} ${word}`);
        } else if (kind === "zero frame" || kind === "zero frames") {
          const frames = kind === "zero frame" ? [at] : [at, (at + 1) % 16, of];
          if (kind === "zero frame") host.zeroFrame(at);
          else host.zeroFrames(Uint32Array.from([0, ...frames]), 1, frames.length);
          for (const frame of frames) for (let i = 0; i < 4; i++) words.delete(`${place(frame)} ${i}`);
        } else if (kind === "host") {
          host.writeWord(at, word, value);
          words.set(`${place(at)} ${word}`, value);
        } else {
          guest.writeWord(of, word, value);
          words.set(`guest ${of} ${word}`, value);
        }
        for (let frame = 0; frame < 16; frame++) {
          const expected = words.get(`${place(frame)} ${word}`) ?? 0;
          expect(host.readWord(frame, word)).toBe(expected);
          expect(host.readByte(frame, word * 4 + 1)).toBe((expected >> 8) & 0xff);
        }
      }
      const given = owner.get(3);
      expect(host.guestFrameOf(3 * pageFrames)).toBe(given === undefined ? NOT_GIVEN : given * pageFrames);
    }),
  );
});
