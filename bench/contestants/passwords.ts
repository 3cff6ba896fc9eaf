import { randomBytes } from "node:crypto";

/** The passwords of a deployment whose contestant generates none: the user's, by their number, and the database's. */
export class Passwords {
  readonly database = generate();
  private readonly users = new Map<number, string>();

  user(number: number): string {
    const password = this.users.get(number) ?? generate();
    this.users.set(number, password);
    return password;
  }
}

const generate = () => randomBytes(18).toString("hex");
