// SPDX-License-Identifier: Apache-2.0
using System.Text;

namespace Tidemark.Storage.Tests;

/// <summary>What keeps a run from using a pack that another one left.</summary>
public enum PackHarm
{
    Condemned,
    Quarantined,
    Cut,
    ContentsDamaged,
    ChunksDamaged,
}

internal static class PackHarming
{
    public static void Harm(this MemoryStore store, Repository repository, string pack, PackHarm harm)
    {
        const string Condemned = "gc/00000001/condemn";
        var bytes = store.Objects[pack];
        switch (harm)
        {
            case PackHarm.Condemned:
                var list = Encoding.UTF8.GetBytes($"{{\"v\":1,\"packs\":[\"{pack}\"]}}");
                store.Objects[Condemned] = repository.Context.Close(Condemned, list);
                break;
            case PackHarm.Quarantined:
                store.Objects["bad/" + pack["packs/".Length..]] = [];
                break;
            case PackHarm.Cut:
                store.Objects[pack] = bytes[..^10];
                break;
            case PackHarm.ContentsDamaged:
                store.Objects[pack] = [.. bytes[..^100], .. bytes[^100..^99].Select(value => (byte)~value), .. bytes[^99..]];
                break;
            case PackHarm.ChunksDamaged:
                store.Objects[pack] = [.. new byte[bytes.Length / 2], .. bytes[(bytes.Length / 2)..]];
                break;
        }
    }
}
