// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.TestKit;

/// <summary>Seeded randomness: a test's seed comes from TIDEMARK_SEED or is the given one, and is named in every failure.</summary>
public static class Seed
{
    public static int Choose(int fallback) =>
        int.TryParse(Environment.GetEnvironmentVariable("TIDEMARK_SEED"), out var seed) ? seed : fallback;
}
