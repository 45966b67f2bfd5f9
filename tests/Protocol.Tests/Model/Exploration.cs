// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Protocol.Tests;

/// <summary>What an exploration found: how many states there are, and the shortest way to a bad one, if any.</summary>
internal sealed record Explored(long States, int Depth, IReadOnlyList<string>? Trace);

/// <summary>
/// Breadth-first search over every state of a model. Of a state only a hash of 64 bits is kept: two of ten million states share one with
/// a chance of one in 300 000, and then one of them is left out.
/// </summary>
internal static class Exploration
{
    public static Explored Run(ModelProtocol protocol)
    {
        var seen = new HashTable();
        var frontier = new List<ModelState> { protocol.Initial() };
        var next = new List<ModelState>();
        var steps = new List<ModelStep>(64);
        seen.Add(protocol.Hash(frontier[0]));
        for (var depth = 1; frontier.Count > 0; depth++)
        {
            foreach (ref readonly var state in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(frontier))
            {
                steps.Clear();
                protocol.Successors(state, steps);
                foreach (ref readonly var step in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(steps))
                {
                    if (!seen.Add(protocol.Hash(step.Next)))
                        continue;
                    if (!protocol.IsSafe(step.Next))
                        return new Explored(seen.Count, depth, Trace(protocol, protocol.Hash(step.Next)));
                    next.Add(step.Next);
                }
            }

            (frontier, next) = (next, frontier);
            next.Clear();
            if (frontier.Count == 0)
                return new Explored(seen.Count, depth - 1, null);
        }

        return new Explored(seen.Count, 0, null);
    }

    // The search again, this time with where each state came from.
    private static List<string> Trace(ModelProtocol protocol, ulong wanted)
    {
        var states = new List<(ModelState State, int Parent, ModelStep Step)> { (protocol.Initial(), -1, default) };
        var seen = new HashTable();
        var steps = new List<ModelStep>(64);
        seen.Add(protocol.Hash(states[0].State));
        for (var current = 0; ; current++)
        {
            steps.Clear();
            protocol.Successors(states[current].State, steps);
            foreach (var step in steps)
            {
                var hash = protocol.Hash(step.Next);
                if (!seen.Add(hash))
                    continue;
                states.Add((step.Next, current, step));
                if (hash == wanted)
                    return Path(states, states.Count - 1);
            }
        }
    }

    private static List<string> Path(List<(ModelState State, int Parent, ModelStep Step)> states, int last)
    {
        var path = new List<string>();
        for (var at = last; states[at].Parent >= 0; at = states[at].Parent)
            path.Add(states[at].Step.ToString());
        path.Reverse();
        return path;
    }

    /// <summary>A set of hashes, none of them zero: eight bytes each at a load of at most two thirds.</summary>
    private sealed class HashTable
    {
        private ulong[] _slots = new ulong[1 << 16];

        public long Count { get; private set; }

        public bool Add(ulong hash)
        {
            if (Count * 3 > _slots.Length * 2L)
                Grow();
            if (!Insert(_slots, hash))
                return false;
            Count++;
            return true;
        }

        private static bool Insert(ulong[] slots, ulong hash)
        {
            for (var slot = hash & (ulong)(slots.Length - 1); ; slot = (slot + 1) & (ulong)(slots.Length - 1))
            {
                if (slots[slot] == hash)
                    return false;
                if (slots[slot] != 0)
                    continue;
                slots[slot] = hash;
                return true;
            }
        }

        private void Grow()
        {
            var larger = new ulong[_slots.Length * 4];
            foreach (var hash in _slots.Where(hash => hash != 0))
                Insert(larger, hash);
            _slots = larger;
        }
    }
}
