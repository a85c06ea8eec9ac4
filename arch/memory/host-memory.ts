/**
 * Memory of a machine whose program runs in a guest. The guest's memory is a `PhysicalMemory` of its own, which its kernel addresses
 * by guest-physical frames as it would without a hypervisor. The frames here that the guest was given show the same bytes: whoever uses
 * one reads and writes the guest's frame. So a cached translation of a frame that the hypervisor has taken back shows what is there then.
 */
import { PhysicalMemory } from "./physical-memory.ts";

/** Owners are kept in pieces of so many pages, made when the first of them is given away. */
const PIECE_PAGES = 4096;

/** What {@link HostMemory.guestFrameOf} says of a frame that the guest does not have. */
export const NOT_GIVEN = -1;

/** The machine's memory, part of which is a guest's. */
export class HostMemory extends PhysicalMemory {
  /** The guest's memory, by guest-physical frames. */
  readonly guest: PhysicalMemory;
  /** Frames in a page that the guest is given. */
  private pageFrames = 1;
  /** By page of this memory, 1 more than the page of guest-physical memory that it backs; 0 for none. */
  private owners: (Float64Array | undefined)[] = [];

  /** @throws MachineUsageError for a size that memory cannot have */
  constructor(sizeBytes: number, guest: PhysicalMemory) {
    super(sizeBytes);
    this.guest = guest;
  }

  /** Says in pages of how many frames memory is given, before any is. */
  choosePageFrames(frames: number): void {
    this.pageFrames = frames;
    this.owners = [];
  }

  /** Backs a page of guest-physical memory with one of this memory; both are named by their first frame. */
  give(frame: number, guestFrame: number): void {
    const page = frame / this.pageFrames;
    const piece = Math.floor(page / PIECE_PAGES);
    this.owners[piece] ??= new Float64Array(PIECE_PAGES);
    (this.owners[piece] as Float64Array)[page % PIECE_PAGES] = guestFrame / this.pageFrames + 1;
  }

  /** Ends that. */
  takeBack(frame: number): void {
    const page = frame / this.pageFrames;
    const owners = this.owners[Math.floor(page / PIECE_PAGES)];
    if (owners !== undefined) owners[page % PIECE_PAGES] = 0;
  }

  /** The guest-physical frame that `frame` backs; `NOT_GIVEN` for none. */
  guestFrameOf(frame: number): number {
    const { pageFrames } = this;
    const page = Math.floor(frame / pageFrames);
    const owner = this.owners[Math.floor(page / PIECE_PAGES)]?.[page % PIECE_PAGES] ?? 0;
    return owner === 0 ? NOT_GIVEN : (owner - 1) * pageFrames + (frame % pageFrames);
  }

  override readWord(frame: number, word: number): number {
    const guestFrame = this.guestFrameOf(frame);
    return guestFrame === NOT_GIVEN ? super.readWord(frame, word) : this.guest.readWord(guestFrame, word);
  }

  override writeWord(frame: number, word: number, value: number): void {
    const guestFrame = this.guestFrameOf(frame);
    if (guestFrame === NOT_GIVEN) super.writeWord(frame, word, value);
    else this.guest.writeWord(guestFrame, word, value);
  }

  override readByte(frame: number, offset: number): number {
    return (this.readWord(frame, offset >> 2) >>> ((offset & 3) << 3)) & 0xff;
  }

  override writeByte(frame: number, offset: number, value: number): void {
    const guestFrame = this.guestFrameOf(frame);
    if (guestFrame === NOT_GIVEN) super.writeByte(frame, offset, value);
    else this.guest.writeByte(guestFrame, offset, value);
  }

  override frameBytes(frame: number): Uint8Array {
    const guestFrame = this.guestFrameOf(frame);
    return guestFrame === NOT_GIVEN ? super.frameBytes(frame) : this.guest.frameBytes(guestFrame);
  }

  override copyFrame(from: number, to: number): void {
    this.frameBytes(to).set(this.frameBytes(from));
  }

  override zeroFrame(frame: number): void {
    const guestFrame = this.guestFrameOf(frame);
    if (guestFrame === NOT_GIVEN) super.zeroFrame(frame);
    else this.guest.zeroFrame(guestFrame);
  }

  override zeroFrames(frames: Uint32Array, offset: number, count: number): void {
    for (let i = offset; i < offset + count; i++) this.zeroFrame(frames[i]);
  }

  override zeroWords(frame: number, word: number, count: number): void {
    const guestFrame = this.guestFrameOf(frame);
    if (guestFrame === NOT_GIVEN) super.zeroWords(frame, word, count);
    else this.guest.zeroWords(guestFrame, word, count);
  }
}
