// Hands from `lgnet stream --format binary --to udp://127.0.0.1:9876`, in Unity's coordinates.
//
// Put it on a GameObject that stands where the camera stands and looks as it looks. Each frame the newest packet is taken;
// its joints are shown as spheres of their radii unless ShowJoints is off. Use Hands and IsOn from your own scripts:
//
//     if (receiver.IsOn("forward", "left", out _)) transform.position += speed * Time.deltaTime * transform.forward;
//     if (receiver.IsOn("pinch", "right", out float turned)) model.localRotation = start * Quaternion.Euler(0, 0, turned * Mathf.Rad2Deg);
//
// Format: docs/streaming.md. OpenXR's frame is right-handed with z backward, Unity's left-handed with z forward:
// positions become (x, y, -z), quaternions (-x, -y, z, w), and +z points along the bone to the tip.

using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using UnityEngine;

public class LgnetReceiver : MonoBehaviour
{
    public struct Joint
    {
        public Vector3 Position; // metres, from the camera
        public Quaternion Rotation;
        public float Radius;
    }

    public class Hand
    {
        public string Side; // "right" or "left"
        public float Score;
        public Joint[] Joints; // OpenXR's order: palm, wrist, thumb 4, index 5, middle 5, ring 5, little 5
    }

    public struct GestureEvent
    {
        public string Gesture, Hand, Phase; // Phase: "begin", "hold" or "end"
        public float Value;
    }

    public class Packet
    {
        public uint Sequence, Frame;
        public double Time, Captured;
        public List<Hand> Hands = new List<Hand>();
        public List<GestureEvent> Events = new List<GestureEvent>();
    }

    public int Port = 9876;
    public bool ShowJoints = true;
    [Tooltip("Seconds without a packet after which hands and gestures are gone")]
    public float Patience = 0.5f;

    static readonly string[] Sides = { "right", "left" };
    static readonly string[] Phases = { "begin", "hold", "end" };

    readonly Dictionary<string, GameObject[]> spheres = new Dictionary<string, GameObject[]>();
    UdpClient client;
    Thread thread;
    volatile bool stopping;
    bool warned;
    Packet newest; // exchanged between the threads
    Packet current;
    float heard = float.NegativeInfinity;

    /// The hands of the newest packet; none where nothing was heard for a while.
    public IReadOnlyList<Hand> Hands => current == null ? (IReadOnlyList<Hand>)Array.Empty<Hand>() : current.Hands;

    /// Whether a gesture is on, and its value. Packets say it in each frame, so a lost one does no harm.
    public bool IsOn(string gesture, string hand, out float value)
    {
        value = 0;
        if (current == null) return false;
        foreach (GestureEvent e in current.Events)
        {
            if (e.Gesture != gesture || e.Hand != hand || e.Phase == "end") continue;
            value = e.Value;
            return true;
        }
        return false;
    }

    void OnEnable()
    {
        stopping = false;
        client = new UdpClient(new IPEndPoint(IPAddress.Loopback, Port));
        thread = new Thread(Receive) { IsBackground = true };
        thread.Start();
    }

    void OnDisable()
    {
        stopping = true;
        client?.Close();
        thread?.Join(500);
        newest = current = null;
        foreach (GameObject[] joints in spheres.Values)
            foreach (GameObject sphere in joints)
                Destroy(sphere);
        spheres.Clear();
    }

    void Receive()
    {
        var from = new IPEndPoint(IPAddress.Any, 0);
        while (!stopping)
        {
            try
            {
                byte[] bytes = client.Receive(ref from);
                Packet packet = Parse(bytes);
                if (packet == null && !warned)
                {
                    warned = true;
                    Debug.LogWarning("These are no packets for Unity; they come from: lgnet stream ... --format binary");
                }
                if (packet != null) Interlocked.Exchange(ref newest, packet);
            }
            catch (SocketException) { } // closed, or a datagram that was refused
            catch (ObjectDisposedException) { return; }
            catch (EndOfStreamException) { } // cut short
            catch (IndexOutOfRangeException) { } // damaged
        }
    }

    void Update()
    {
        Packet packet = Interlocked.Exchange(ref newest, null);
        if (packet != null)
        {
            current = packet;
            heard = UnityEngine.Time.unscaledTime;
        }
        else if (UnityEngine.Time.unscaledTime - heard > Patience)
        {
            current = null;
        }
        if (ShowJoints) Show();
    }

    void Show()
    {
        foreach (GameObject[] joints in spheres.Values)
            foreach (GameObject sphere in joints)
                sphere.SetActive(false);
        foreach (Hand hand in Hands)
        {
            if (!spheres.TryGetValue(hand.Side, out GameObject[] joints) || joints.Length != hand.Joints.Length)
            {
                joints = new GameObject[hand.Joints.Length];
                for (int j = 0; j < joints.Length; j++)
                {
                    joints[j] = GameObject.CreatePrimitive(PrimitiveType.Sphere);
                    joints[j].transform.SetParent(transform, false);
                }
                spheres[hand.Side] = joints;
            }
            for (int j = 0; j < joints.Length; j++)
            {
                joints[j].SetActive(true);
                joints[j].transform.localPosition = hand.Joints[j].Position;
                joints[j].transform.localRotation = hand.Joints[j].Rotation;
                joints[j].transform.localScale = 2 * hand.Joints[j].Radius * Vector3.one;
            }
        }
    }

    /// A binary packet in Unity's coordinates; null for what is none, or of another version or frame of reference.
    public static Packet Parse(byte[] bytes)
    {
        if (bytes.Length < 56 || bytes[0] != 'L' || bytes[1] != 'G' || bytes[2] != 'N' || bytes[3] != 1) return null;
        if (bytes[4] != 1) return null; // lgnet stream --space openxr, the default
        using (var reader = new BinaryReader(new MemoryStream(bytes), Encoding.UTF8)) // little-endian
        {
            reader.BaseStream.Position = 5;
            int joints = reader.ReadByte(), hands = reader.ReadByte(), events = reader.ReadByte();
            var packet = new Packet { Sequence = reader.ReadUInt32(), Frame = reader.ReadUInt32() };
            packet.Time = reader.ReadDouble();
            packet.Captured = reader.ReadDouble();
            reader.BaseStream.Position = 56; // past the picture's size and the camera
            for (int h = 0; h < hands; h++)
            {
                var hand = new Hand { Side = Sides[reader.ReadByte()], Joints = new Joint[joints] };
                reader.ReadBytes(3);
                hand.Score = reader.ReadSingle();
                for (int j = 0; j < joints; j++)
                {
                    float x = reader.ReadSingle(), y = reader.ReadSingle(), z = reader.ReadSingle();
                    short qx = reader.ReadInt16(), qy = reader.ReadInt16(), qz = reader.ReadInt16(), qw = reader.ReadInt16();
                    hand.Joints[j] = new Joint
                    {
                        Position = new Vector3(x, y, -z),
                        Rotation = new Quaternion(-qx / 32767f, -qy / 32767f, qz / 32767f, qw / 32767f).normalized,
                        Radius = reader.ReadUInt16() * 1e-5f,
                    };
                }
                packet.Hands.Add(hand);
            }
            for (int e = 0; e < events; e++)
            {
                var happened = new GestureEvent { Phase = Phases[reader.ReadByte()], Hand = Sides[reader.ReadByte()] };
                happened.Value = reader.ReadSingle();
                happened.Gesture = Encoding.UTF8.GetString(reader.ReadBytes(reader.ReadByte()));
                packet.Events.Add(happened);
            }
            return packet;
        }
    }
}
